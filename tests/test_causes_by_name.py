"""The cause, reason and fingerprint of an error known by its names alone, and the bounds of its texts."""

import pytest

from observability import causes
from observability.exception_chain import Frame, Raised

OWN = Frame("/dags/flights.py", 7, "load")
OTHER = Frame("/dags/flights.py", 90, "check")
PACKAGE = "/usr/lib/python3.11/site-packages"


def cause(name, *, module="", file="", kind=None, members=()):
    frames = (OWN, Frame(file, 1, "send")) if file else (OWN,)
    return causes._cause_of_chain([Raised(name, "", frames, kind, module, members)])


@pytest.mark.parametrize(
    ("name", "where", "expected"),
    [
        ("AirflowTaskTimeout", {}, "timeout"),
        ("TaskDeferralTimeout", {"module": "airflow.sdk.exceptions"}, "timeout"),
        ("ExternalTaskFailedError", {}, "upstream"),
        ("ExternalTaskGroupFailedError", {}, "upstream"),
        ("ExternalDagFailedError", {"module": "airflow.providers.standard.exceptions"}, "upstream"),
        ("XComNotFound", {}, "upstream"),
        ("AirflowTaskTerminated", {}, "killed"),
        ("AirflowRuntimeError", {}, "platform"),
        ("AirflowNotFoundException", {}, "dependency"),
        ("MemoryError", {}, "oom"),
        ("KeyboardInterrupt", {}, "app"),
        ("ConnectionRefusedError", {}, "dependency"),
        ("UnicodeDecodeError", {}, "data"),
        ("ValueError", {}, "app"),
        ("Error", {}, "app"),
        ("Error", {"module": "_csv"}, "data"),
        ("JSONDecodeError", {}, "data"),
        ("IntegrityError", {}, "data"),
        ("OperationalError", {}, "dependency"),
        ("IOException", {}, "app"),
        ("IOException", {"module": "duckdb.duckdb"}, "dependency"),
        ("ConstraintException", {"module": "duckdb"}, "data"),
        ("SyntaxException", {"module": "duckdb"}, "app"),
        ("Anything", {"module": "pandera.errors"}, "data"),
        ("Anything", {"module": "pyarrow.lib"}, "data"),
        ("Anything", {"module": "requests.exceptions"}, "dependency"),
        ("Anything", {"module": "requestsother"}, "app"),
        ("Anything", {"module": "google.cloud.bigquery"}, "dependency"),
        ("Anything", {"module": "google.protobuf"}, "app"),
        ("Anything", {"file": f"{PACKAGE}/urllib3/connection.py"}, "dependency"),
        ("Anything", {"file": f"{PACKAGE.replace('/', chr(92))}\\jsonschema\\validators.py"}, "data"),
        ("Anything", {"file": "/usr/lib/python3/dist-packages/redis/client.py"}, "dependency"),
        ("Anything", {"file": "/home/requests/client.py"}, "app"),
        ("HTTPError", {}, "dependency"),
        ("SchemaErrors", {}, "data"),
        ("NoSuchName", {"module": "not.a.module"}, "app"),
    ],
)
def test_a_name_alone_tells_the_cause_and_who_raised_it_where_the_name_does_not(name, where, expected):
    assert cause(name, **where) == expected


def test_a_class_of_a_module_that_is_loaded_is_asked_for_what_it_descends_from():
    assert cause("BrokenPipeError", module="builtins") == "dependency"
    assert cause("Error", module="json") == "app"


class WrongError(Exception):
    contrail_cause = "no cause of ours"


class OwnError(ConnectionError):
    contrail_cause = "data"


class DerivedError(ConnectionError):
    pass


@pytest.mark.parametrize(("kind", "expected"), [(WrongError, "app"), (OwnError, "data"), (DerivedError, "dependency")])
def test_a_class_that_is_at_hand_says_its_own_cause_or_that_of_its_ancestors(kind, expected):
    assert cause(kind.__name__, kind=kind) == expected


def test_the_first_of_a_chain_and_its_members_that_says_a_cause_is_believed():
    plain, data, oom = Raised("ValueError", ""), Raised("JSONDecodeError", ""), Raised("MemoryError", "")
    group = Raised("ExceptionGroup", "", members=((plain,), (oom,)))
    assert causes._cause_of_chain([plain, data, oom]) == "data"
    assert causes._cause_of_chain([plain, group, data]) == "oom"
    assert causes._cause_of_chain([]) == "app"


@pytest.mark.parametrize(
    ("name", "message", "code", "expected"),
    [
        ("SystemExit", "3", 3, "app"),
        ("SystemExit", "-9", -9, "killed"),
        ("SystemExit", "137", 137, "killed"),
        ("SystemExit", "136", 136, "app"),
        ("SystemExit", "1.5", None, "app"),
        ("SystemExit", "", None, "app"),
        ("ValueError", "3", None, "app"),
        ("CalledProcessError", "Command 'x' returned non-zero exit status 5.", 5, "app"),
        ("CalledProcessError", "Command 'x\ny' returned non-zero exit status -9.", -9, "killed"),
        ("CalledProcessError", "Command 'x' died with <Signals.SIGKILL: 9>.", -9, "killed"),
        ("CalledProcessError", "Command 'x' died with <Signals.SIGTERM: 15>.", -15, "killed"),
        ("CalledProcessError", "something else", None, "app"),
        ("AirflowException", "Bash command failed. The command returned a non-zero exit code 137.", 137, "killed"),
        ("AirflowException", "Bash command failed. The command returned a non-zero exit code -9.", -9, "killed"),
        ("ValueError", "Command 'x' returned non-zero exit status 5.", None, "app"),
    ],
)
def test_the_words_of_an_error_tell_its_exit_code(name, message, code, expected):
    failure = causes._described([Raised(name, message)])
    assert (failure.exit_code, failure.cause) == (code, expected)


def test_a_code_that_is_known_is_believed_before_the_words():
    assert causes._described([Raised("SystemExit", "3", code=4)]).exit_code == 4
    assert causes._described([Raised("SystemExit", "3", code=0)]).exit_code == 0


@pytest.mark.parametrize(
    ("name", "message", "reason"),
    [
        ("ValueError", "\n  bad row  \nmore", "ValueError: bad row  "),
        ("ValueError", "", "ValueError"),
        ("HITLTimeoutError", "{'a': 1}", "HITLTimeoutError: nobody answered in time"),
    ],
)
def test_the_reason_is_the_class_and_the_first_line(name, message, reason):
    failure = causes._described([Raised(name, message, (OWN, OTHER))])
    assert failure.reason == reason
    assert (failure.error_type, failure.error_message, failure.frame) == (name, message, "flights.py:90 in check")
    assert failure.stack_trace is None


def test_of_nothing_at_all_an_exception_is_told():
    failure = causes._described([])
    assert (failure.reason, failure.cause, failure.frame, failure.exit_code) == ("Exception", "app", None, None)
    assert causes.describe_detail([]) is None


@pytest.mark.parametrize(("length", "cut"), [(300, False), (301, True), (10_000, True)])
def test_a_text_that_is_too_long_has_its_middle_left_out_and_says_how_much(length, cut):
    text = "a" * (length // 2) + "b" * (length - length // 2)
    found = causes._bounded(text, 300)
    if not cut:
        assert found == text
    else:
        assert found == "a" * 130 + f"\n… {length - 260} characters left out …\n" + "b" * 130
        assert len(found) <= 300


@pytest.mark.parametrize(
    ("trace", "before", "kept"), [("x\n", "", "x\n"), ("x\n", "the trigger failed: ", "x"), ("", "", None)]
)
def test_a_trace_is_kept_as_it_came_and_of_a_trigger_without_its_end(trace, before, kept):
    failure = causes._described([Raised("ValueError", "bad")], trace, before)
    assert (failure.stack_trace, failure.reason) == (kept, f"{before}ValueError: bad")


@pytest.mark.parametrize(
    ("bound", "of"),
    [
        (8192, causes.bounded_trace),
        (4096, lambda text: causes._described([Raised("E", text)]).error_message),
    ],
    ids=["trace", "message"],
)
def test_a_trace_has_eight_kilobytes_and_a_message_half_of_it(bound, of):
    assert of("x" * bound) == "x" * bound
    assert bound - 40 < len(of("x" * (bound + 1))) <= bound


def test_the_fingerprint_is_of_the_last_twelve_functions_of_ones_own_or_of_the_words():
    def fingerprint(*functions, message="", name="E"):
        return causes._fingerprint(Raised(name, "", tuple(Frame(f"/d/{one}.py", 1, one) for one in functions)), message)

    many = [f"f{number}" for number in range(13)]
    assert fingerprint(*many) == fingerprint("other", *many[1:])
    assert fingerprint(*many) != fingerprint(many[0], "other", *many[2:])
    assert fingerprint("f", message="one") == fingerprint("f", message="two")
    assert fingerprint("f", name="F") != fingerprint("f")
    assert fingerprint(message="row 7") == fingerprint(message="row 8") != fingerprint(message="line 8")
    assert len(fingerprint()) == 16


@pytest.mark.parametrize(
    ("message", "normal"),
    [
        ("a  b\n\tc", "a b c"),
        ("id 0123456789ab and beef", "id # and beef"),
        ("version 1. s", "version #. s"),
        ("took 5 min 3 s", "took # s"),
        ("took 5 d", "took # s"),
        ("\"x\" 'y'", "# #"),
        ("x" * 2000 + "y", "x" * 2000),
    ],
)
def test_what_differs_from_one_occurrence_to_the_next_is_taken_away(message, normal):
    assert causes.normalise(message) == normal


class Response:
    def __init__(self, value, detail):
        self.error = type("Kind", (), {"value": value})()
        self.detail = detail


@pytest.mark.parametrize(
    ("value", "detail", "away"),
    [
        ("API_SERVER_ERROR", None, True),
        ("API_SERVER_ERROR", {}, True),
        ("API_SERVER_ERROR", {"status_code": None}, True),
        ("API_SERVER_ERROR", {"status_code": 499}, False),
        ("API_SERVER_ERROR", {"status_code": 500}, True),
        ("API_SERVER_ERROR", {"status_code": 503}, True),
        ("API_SERVER_ERROR", {"status_code": "500"}, False),
        ("GENERIC_ERROR", None, False),
    ],
)
def test_an_api_server_is_away_if_it_gave_no_answer_or_that_of_a_broken_one(value, detail, away):
    error = type("AirflowRuntimeError", (Exception,), {"error": Response(value, detail)})()
    assert causes.is_airflow_away(error) is away
    outer = ValueError()
    outer.__context__ = error
    assert causes.is_airflow_away(outer) is away
    other = type("OtherError", (Exception,), {"error": Response(value, detail)})()
    assert causes.is_airflow_away(other) is False


@pytest.mark.parametrize(("depth", "found"), [(19, True), (20, False)])
def test_an_api_server_that_is_away_is_found_down_to_the_twentieth_of_a_chain(depth, found):
    error = type("AirflowRuntimeError", (Exception,), {"error": Response("API_SERVER_ERROR", None)})()
    for _ in range(depth):
        outer = ValueError()
        outer.__cause__ = error
        error = outer
    assert causes.is_airflow_away(error) is found


def resumed(name, **local):
    """An error that came through a frame called ``resume_execution``, which had these variables."""

    def resume_execution(next_kwargs):
        raise type(name, (Exception,), {})

    def fail():
        resume_execution(**local)

    try:
        fail()
    except Exception as error:  # noqa: BLE001 - it is what is asked for
        return error


@pytest.mark.parametrize(
    ("name", "kwargs", "trace"),
    [
        ("TaskDeferralError", {"traceback": ["a\n", "b"]}, "a\nb"),
        ("TaskDeferralError", {"traceback": ("a", 1)}, "a1"),
        ("TaskDeferralError", {"traceback": "text"}, ""),
        ("TaskDeferralError", {}, ""),
        ("TaskDeferralError", None, ""),
        ("OtherError", {"traceback": ["a\n"]}, ""),
    ],
)
def test_the_trace_of_a_trigger_is_found_in_the_frame_of_the_resumed_task(name, kwargs, trace):
    assert causes._of_trigger(resumed(name, next_kwargs=kwargs)) == trace
    assert causes._of_trigger(ValueError()) == ""


def test_an_exit_code_is_a_number_of_the_exception_itself():
    error = ValueError("x")
    error.returncode = 5
    assert causes.describe(error).exit_code == 5
    error.returncode = "5"
    assert causes.describe(error).exit_code is None
    assert causes.describe(SystemExit("text")).exit_code is None
    assert causes.describe(SystemExit(7)).exit_code == 7
