import subprocess
import sys

from observability.writer import Logger


def out(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_outside_airflow_a_logger_is_our_own():
    assert (
        out("from observability import get_logger\nprint(type(get_logger('x')).__module__)") == "observability.writer"
    )


def test_where_structlog_is_configured_a_line_goes_through_its_pipeline():
    program = (
        "import structlog\n"
        "structlog.configure(processors=[structlog.processors.KeyValueRenderer()])\n"
        "from observability import get_logger\n"
        "get_logger('x').info('hello', rows=1)"
    )
    assert sorted(out(program).split()) == ["event='hello'", "rows=1"]


def test_in_a_process_that_imported_airflow_a_logger_is_structlogs():
    program = (
        "import sys, types\n"
        "sys.modules['airflow.sdk'] = types.ModuleType('airflow.sdk')\n"
        "from observability import get_logger\n"
        "print(type(get_logger('x')).__module__)"
    )
    assert out(program).startswith("structlog.")


def test_a_process_that_writes_its_own_log_keeps_to_it_after_importing_airflow(tmp_path):
    program = (
        "import sys, types\n"
        "from pathlib import Path\n"
        "from observability import get_logger\n"
        "from observability.writer import write_to\n"
        f"write_to(Path({str(tmp_path / 'own.log')!r}))\n"
        "sys.modules['airflow.sdk'] = types.ModuleType('airflow.sdk')\n"
        "print(type(get_logger('x')).__module__)"
    )
    assert out(program) == Logger.__module__
