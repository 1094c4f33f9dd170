import base64
import json
import os
import subprocess
import sys
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observability import redact
from observability.encode import to_json
from observability.redact import MASK, add_secret, document, inert, is_clean, structlog_processor, text
from observability.settings import get_settings

SECRET = 'hunter2!/Zürich "quoted"\\path & <more>'


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch):
    monkeypatch.setattr(redact, "_secrets", {})
    redact._forget_rules()
    yield
    redact._forget_rules()


def encodings(secret):
    raw = secret.encode()
    return {
        "plain": secret,
        "upper": secret.upper(),
        "lower": secret.lower(),
        "quoted": quote(secret, safe=""),
        "quoted but slashes": quote(secret),
        "form": quote_plus(secret),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "json": json.dumps(secret),
        "json in utf-8": json.dumps(secret, ensure_ascii=False),
        "json in json": json.dumps(json.dumps(secret, ensure_ascii=False), ensure_ascii=False),
        "repr": repr(secret),
        "repr of bytes": repr(raw),
        **{f"base64 after {n}": base64.b64encode(b"x" * n + raw + b"yz").decode() for n in range(4)},
        **{f"urlsafe after {n}": base64.urlsafe_b64encode(b"x" * n + raw + b"yz").decode() for n in range(4)},
        "userinfo": f"postgresql://me:{quote(secret, safe='')}@host/db",
    }


def leaks(secret, shown):
    """Whether any run of the secret's characters that is long enough to help an attacker is in ``shown``."""
    raw = secret.encode()
    forms = {secret, quote(secret, safe=""), raw.hex(), json.dumps(secret)[1:-1], repr(raw)[2:-1]}
    cores = {base64.b64encode(b"\0" * n + raw)[4:-4].decode() for n in range(3)}
    return [form for form in forms | cores if len(form) > 3 and form.lower() in shown.lower()]


@pytest.mark.parametrize("encoding", encodings(SECRET))
def test_a_secret_is_masked_in_every_encoding(encoding):
    add_secret(SECRET)
    shown = encodings(SECRET)[encoding]
    assert leaks(SECRET, text(f"before {shown} after")) == []
    assert MASK in text(f"before {shown} after")


@pytest.mark.parametrize("encoding", encodings(SECRET))
def test_a_line_with_a_secret_in_any_encoding_is_not_clean(encoding):
    add_secret(SECRET)
    assert not is_clean(to_json({"message": f"before {encodings(SECRET)[encoding]} after"}))


def test_a_line_without_secrets_is_clean():
    add_secret(SECRET)
    assert is_clean(b'{"message":"12 rows loaded from https://example.org/data"}')


def test_what_is_around_a_secret_stays():
    add_secret("s3cr3t")
    assert text("user=bob s3cr3t, done") == "user=bob ***, done"


def test_a_secret_that_starts_with_another_leaves_no_tail():
    for secret in ("abcdef", "abcdefghi", "defghijkl"):
        add_secret(secret)
    assert text("x abcdefghi y") == "x *** y"
    assert text("x abcdefghijkl y") == "x *** y"


def test_a_short_secret_is_masked():
    add_secret("x9z")
    assert text("pin x9z") == "pin ***"


def test_each_line_of_a_private_key_is_masked():
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
    add_secret(f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----")
    assert text(f"first line was {body}") == "first line was ***"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("postgresql://me:pw@host/db", "postgresql://me:***@host/db"),
        ("amqp://me:p:w@host", "amqp://me:***@host"),
        ("https://0123456789abcdef0123@sentry.example/1", "https://***@sentry.example/1"),
        ("ssh://git@example.org", "ssh://git@example.org"),
        ("password=hunter2 next", "password=*** next"),
        ("{'api_key': 'abc', 'n': 1}", "{'api_key': '***', 'n': 1}"),
        ('{\\"token\\": \\"abc\\"}', '{\\"token\\": \\"***\\"}'),
        ("GET /x?access_key=abc&n=1", "GET /x?access_key=***&n=1"),
        ("Authorization: Bearer abcdef123", "Authorization: Bearer ***"),
        ("sent bearer abcdef123", "sent bearer ***"),
        ("max_tokens=5", "max_tokens=5"),
        ("jwt eyJhbGciOi.eyJzdWIiOi.SflKxwRJ", "jwt ***"),
    ],
)
def test_a_secret_is_masked_by_its_place(before, after):
    assert text(before) == after


def test_a_value_is_masked_by_its_key_however_deep():
    found = document({"db": {"PGPASSWORD": "x", "port": 1}, "headers": [{"Authorization": ["a", "b"]}], "tokens": 5})
    assert found == {"db": {"PGPASSWORD": MASK, "port": 1}, "headers": [{"Authorization": [MASK, MASK]}], "tokens": 5}


def test_a_number_that_is_a_secret_is_masked():
    add_secret("4711081500")
    assert document({"pin": 4711081500, "rows": 12}) == {"pin": MASK, "rows": 12}


def test_an_object_is_masked_as_its_text():
    add_secret("s3cr3t")
    assert document({"error": ValueError("no s3cr3t")}) == {"error": "no ***"}


def test_our_own_field_names_and_ids_stay_when_a_secret_is_an_everyday_word():
    add_secret("airflow")
    found = document({"airflow.dag_id": "airflow_x", "event.id": "airflow", "airflow": 1})
    assert found == {"airflow.dag_id": "***_x", "event.id": "airflow", "***": 1}


def test_patterns_for_personal_data_come_from_the_settings(tmp_path, monkeypatch):
    path = tmp_path / "contrail.toml"
    path.write_text("[redaction]\npatterns = ['\\d{3}-\\d{2}-\\d{4}']\nkeys = ['iban']\n")
    monkeypatch.setenv("CONTRAIL_CONFIG", str(path))
    get_settings.cache_clear()
    try:
        assert document({"who": "no 078-05-1120", "IBAN": "DE02"}) == {"who": "no ***", "IBAN": MASK}
        assert not is_clean(b'{"who":"078-05-1120"}')
    finally:
        get_settings.cache_clear()


def test_a_secret_that_is_no_unicode_is_no_error():
    add_secret("abc\udc80def")
    assert text("x abc\udc80def") == "x ***"


def test_the_structlog_step_masks_what_it_finds_and_returns_the_rest_untouched():
    add_secret("s3cr3t")
    event = {"event": "done", "rows": 1}
    assert structlog_processor(None, "info", event) is event
    assert structlog_processor(None, "info", {"event": "s3cr3t", "password": "x"}) == {"event": MASK, "password": MASK}


def test_the_structlog_step_leaves_to_other_steps_what_is_theirs():
    add_secret("s3cr3t")
    error, record = ValueError("s3cr3t"), object()
    found = structlog_processor(None, "error", {"event": "s3cr3t", "exc_info": error, "_record": record})
    assert found == {"event": MASK, "exc_info": error, "_record": record}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\r\nSet-Cookie: b", "a Set-Cookie: b"),
        ("\x1b[31mred", "\N{REPLACEMENT CHARACTER}[31mred"),
        ("a\x00b\x85c\u2028d", "a\N{REPLACEMENT CHARACTER}b c d"),
        ("user\u202egnp.exe", "user\N{REPLACEMENT CHARACTER}gnp.exe"),
        ("\ufeffx\u200by\udc80", "\N{REPLACEMENT CHARACTER}x\N{REPLACEMENT CHARACTER}y\N{REPLACEMENT CHARACTER}"),
        ("Zürich 東京", "Zürich 東京"),
    ],
)
def test_control_and_bidi_characters_become_inert(before, after):
    assert inert(before) == after


def test_an_inert_text_is_bounded():
    assert inert("x" * 1000, longest=10) == "x" * 10


secrets = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="*"), min_size=8, max_size=40).filter(
    lambda found: len(set(found)) > 4 and found == found.strip()
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=st.lists(secrets, min_size=1, max_size=6), data=st.data())
def test_planted_secrets_reach_no_output(planted, data):
    redact._secrets.clear()
    redact._forget_rules()
    for secret in planted:
        add_secret(secret)
    secret = data.draw(st.sampled_from(planted))
    encoding = data.draw(st.sampled_from(sorted(encodings(secret))))
    shown = encodings(secret)[encoding]
    place = data.draw(st.sampled_from(["value", "nested", "key", "exception", "list", "bytes"]))
    record = {
        "value": lambda: {"message": f"a {shown} b"},
        "nested": lambda: {"x": {"y": [{"z": f"<{shown}>"}]}},
        "key": lambda: {"x": {shown: 1}},
        "exception": lambda: {"error": ValueError(shown)},
        "list": lambda: {"x": (shown, 1)},
        "bytes": lambda: {"x": shown.encode()},
    }[place]()
    line = to_json(record)
    written = line if is_clean(line) else to_json(document(record))
    assert leaks(secret, str(orjson.loads(written))) == []


@pytest.mark.parametrize("seed", ["0", "1", "17"])
def test_masking_does_not_depend_on_the_order_of_hashes(seed):
    program = (
        "from observability.redact import add_secret, text\n"
        "for one in {'abcdef', 'abcdefghi', 'defghijkl', 'xyz123'}: add_secret(one)\n"
        "print(text('1 abcdefghijkl 2 XYZ123 3'))"
    )
    env = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "1 *** 2 *** 3\n"
