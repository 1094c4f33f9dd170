"""The practices that the threat model rules out, looked for in the code itself."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("observability", "dags", "deploy") for path in (ROOT / folder).rglob("*.py"))
NEVER = {
    "eval": "runs data", "exec": "runs data", "pickle.loads": "runs data", "pickle.load": "runs data",
    "marshal.loads": "runs data", "yaml.load": "makes any object", "yaml.unsafe_load": "makes any object",
    "os.system": "a shell", "os.popen": "a shell", "subprocess.getoutput": "a shell", "tempfile.mktemp": "a race",
}  # fmt: skip


def calls():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", ast.unparse(node.func), node


def test_nothing_that_runs_data_is_called():
    assert [f"{where} {name}" for where, name, _ in calls() if name in NEVER] == []


def test_no_shell_is_given_a_command():
    shells = [
        where
        for where, _, call in calls()
        for keyword in call.keywords
        if keyword.arg == "shell" and getattr(keyword.value, "value", True) is not False
    ]
    assert shells == []


def test_certificates_are_always_verified():
    unverified = [
        where
        for where, _, call in calls()
        for keyword in call.keywords
        if keyword.arg in {"verify", "verify_certs", "ssl_verify"} and getattr(keyword.value, "value", True) is False
    ]
    assert unverified == []
    text = "".join(path.read_text("utf-8") for path in SOURCES)
    assert not re.search(r"CERT_NONE|check_hostname\s*=\s*False|_create_unverified_context", text)


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*policy*.json")), ids=lambda path: path.name)
def test_iam_policies_name_each_action_and_each_resource(path):
    for statement in json.loads(path.read_text("utf-8"))["Statement"]:
        assert statement["Effect"] == "Allow"
        for action in statement["Action"]:
            assert "*" not in action
        for resource in statement["Resource"]:
            assert resource.split(":", 5)[5] != "*"
            assert resource.startswith("arn:")
            assert re.sub(r":log-stream:\*$", "", resource).count("*") == 0


def test_no_secret_is_in_the_repository():
    pattern = re.compile(r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|xox[baprs]-[0-9]{6,}|ghp_[0-9A-Za-z]{36}")
    folders = ("observability", "dashboards", "dags", "deploy", "config", "docs")
    files = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    found = [str(path.relative_to(ROOT)) for path in files if pattern.search(path.read_text("utf-8", "replace"))]
    assert found == []
