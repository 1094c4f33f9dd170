"""The wheel and the source distribution, built and used as somebody who installs them would."""

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email import message_from_bytes
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name as canonical

from observability import __version__

ROOT = Path(__file__).parents[2]


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with what the build makes, by hatchling itself: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("dist")
    for kind in ("wheel", "sdist"):
        run(sys.executable, "-c", f"import hatchling.build as b; b.build_{kind}({str(folder)!r})", cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The interpreter of an empty environment into which the wheel was installed; its dependencies are this one's."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", wheel)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def outside(python, *arguments):
    """Run it where no checkout is in the way."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return run(python, "-P" if sys.version_info >= (3, 11) else "-s", *arguments, cwd=Path(python).parents[1], env=env)


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_there_is_one_version(built, wheel):
    assert metadata(wheel)["Version"] == __version__
    assert {path.name for path in built.iterdir()} == {
        f"contrail_etl-{__version__}-py3-none-any.whl", f"contrail_etl-{__version__}.tar.gz",
    }  # fmt: skip
    assert f":{__version__}" in (ROOT / ".env.example").read_text()


def test_the_wheel_has_the_library_its_types_and_its_pages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {
        "observability",
        f"contrail_etl-{__version__}.dist-info",
    }
    assert "observability/py.typed" in names
    kept = {path.relative_to(ROOT).as_posix() for path in (ROOT / "observability").rglob("*.py")}
    assert kept <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith((".db", ".log", ".journal"))]


def test_the_source_distribution_has_what_the_wheel_is_made_of(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "LICENSE", "README.md", "observability/__about__.py", "dags/flights_daily.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".git/", ".contrail"))]


def test_the_command_is_there_after_installing(installed):
    command = installed.with_name("contrail")
    assert "relay" in run(command, "--help", cwd="/")


def test_airflow_finds_the_plugin_after_installing(installed):
    found = outside(
        installed,
        "-c",
        "import json; from importlib.metadata import entry_points as e;"
        "print(json.dumps({p.name: p.value for p in e(group='airflow.plugins')}))",
    )
    assert json.loads(found)["contrail"] == "observability.airflow.plugin:ContrailPlugin"


def test_a_dag_author_can_import_it_after_installing(installed):
    code = (
        "import observability; from observability import emit, get_logger, measure;"
        "print(observability.__version__, observability.__file__)"
    )
    version, path = outside(installed, "-c", code).split()
    assert (version, Path(path).is_relative_to(installed.parents[1])) == (__version__, True)


def test_what_the_library_needs_is_named_and_what_it_does_not_need_is_an_extra(wheel):
    needed = [line for line in metadata(wheel).get_all("Requires-Dist") if "extra ==" not in line]
    names = {line.split(">")[0].split("<")[0].split(";")[0].split("[")[0].strip() for line in needed}
    assert {"apache-airflow", "orjson", "structlog"} <= names
    assert not {"pandas", "boto3", "elasticsearch", "apprise"} & names


def test_whatever_is_imported_is_declared(wheel):
    """A package that comes along with another one may stay away with its next version."""
    declared = {canonical(re.split(r"[^\w.-]", line)[0]) for line in metadata(wheel).get_all("Requires-Dist")}
    providers = packages_distributions()
    used = {}
    for path in (path for folder in ("observability",) for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            used |= {name.partition(".")[0]: path.relative_to(ROOT) for name in names}
    known = sys.stdlib_module_names | {"observability"}
    with_another = {
        "fastapi": "a plugin of Airflow hands it over",
        "starlette": "the part of FastAPI that serves",
        "anyio": "the part of Starlette whose threads answer",
        "botocore": "the part of boto3 that asks",
        "pytest": "only in the fixtures for tests",
        "moto": "only in the stand-in for AWS of a checkout",
    }
    foreign = {name: where for name, where in used.items() if name not in known | with_another.keys()}
    came_along = {
        f"{name} in {where}"
        for name, where in foreign.items()
        if name in providers and not {canonical(one) for one in providers[name]} & declared
    }
    assert came_along <= set()
