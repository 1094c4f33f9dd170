"""The search itself: how hints are followed, how far each name, value and block is read, and what is cut."""

import base64
from types import SimpleNamespace

import pytest

from observability import redact
from observability import secrets_search as module
from observability.contain import take_losses
from observability.redact import text
from observability.secrets_search import MASK, Found, Rules, Search, cut


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch):
    monkeypatch.setattr(redact, "_secrets", {})
    redact._forget_rules()
    yield
    redact._forget_rules()
    take_losses()


E_ACUTE = "é".encode()


@pytest.mark.parametrize(
    ("raw", "spans", "expected"),
    [
        (b"abcdef", [], "abcdef"),
        (b"abcdef", [(0, 3)], "***def"),
        (b"abcdef", [(3, 6)], "abc***"),
        (b"abcdef", [(4, 5), (1, 2)], "a***cd***f"),
        (b"abcdef", [(0, 3), (2, 5)], "***f"),
        (b"abcdef", [(0, 5), (1, 3)], "***f"),
        (b"abcdef", [(0, 2), (2, 4)], "***ef"),
        (b"abcdef", [(1, 2), (2, 4)], "a***ef"),
        (b"abcdef", [(1, 2), (3, 4)], "a***c***ef"),
        (b"abcdef", [(3, 3)], "abcdef"),
        (b"abcdef", [(0, 0), (1, 2)], "a***cdef"),
        (b"a" + E_ACUTE + b"b", [(2, 4)], "a***"),
        (b"a" + E_ACUTE + b"b", [(1, 2)], "a***b"),
        (E_ACUTE * 2, [(0, 1), (3, 4)], "***"),
        (E_ACUTE * 3, [(0, 2), (5, 6)], "***é***"),
        (b"ab" + E_ACUTE, [(1, 3)], "a***"),
    ],
)
def test_each_span_becomes_one_mask_and_no_character_is_torn(raw, spans, expected):
    assert cut(raw, spans) == expected


@pytest.mark.parametrize(
    ("raw", "span", "wider"),
    [
        (b"aXXb", (1, 3), (0, 4)), (b"-XX-", (1, 3), (1, 3)), (b"XX", (0, 2), (0, 2)), (b"aXX", (1, 3), (0, 3)),
        (b"XXb", (0, 2), (0, 3)), (b"XX==c", (0, 2), (0, 4)), (b"XXb==c", (0, 2), (0, 5)), (b"aaXXbb", (2, 4), (1, 5)),
        (b"XX=", (0, 2), (0, 3)), (b"XX-=", (0, 2), (0, 2)),
    ],
)  # fmt: skip
def test_a_piece_of_base64_takes_the_digit_on_either_side_and_its_padding(raw, span, wider):
    assert module._widened(raw, *span) == wider


def searching(raw, hints=(), found=(), longest=4):
    """A search whose automaton gives these hints for each window; the windows are noted."""
    windows = []
    automaton = SimpleNamespace(
        find_matches_as_indexes=lambda part, overlapping: windows.append((part, overlapping)) or list(hints)
    )
    search = Search(Rules(automaton, longest, list(found), (), ()), raw)
    return search, windows


def test_a_text_is_scanned_in_windows_that_overlap_by_the_longest_pattern(monkeypatch):
    monkeypatch.setattr(module, "_WINDOW", 10)
    raw = b"0123456789ABCDEFGHIJKLMNO"
    search, windows = searching(raw, [(0, 10, 12), (0, 9, 11), (0, 0, 2)], [Found(secret=True)])
    assert search.spans() == [(0, 2), (9, 11), (10, 12), (19, 21), (20, 22), (29, 31)]
    assert windows == [(raw.lower()[start : start + 14], True) for start in (0, 10, 20)]
    empty, windows = searching(b"")
    assert (empty.spans(), windows) == ([], [(b"", True)])


def test_hints_are_followed_by_their_place_and_the_longer_one_first():
    hints = [(0, 5, 7), (1, 2, 3), (2, 2, 9)]
    assert sorted(hints, key=module._by_place) == [(2, 2, 9), (1, 2, 3), (0, 5, 7)]


@pytest.mark.parametrize(("passed", "whole"), [(2.0, True), (2.001, False)])
def test_where_time_runs_out_the_rest_is_masked_and_counted(monkeypatch, passed, whole):
    asked = []
    monkeypatch.setattr(
        module, "time", SimpleNamespace(thread_time=lambda: asked.append(1) or (0.0 if len(asked) < 3 else passed))
    )
    search, _ = searching(b"x" * 5000, [(0, number, number + 1) for number in range(1500)], [Found(secret=True)])
    take_losses()
    found = search.spans()
    assert len(asked) == 3  # as it begins, at the first hint, and at the 1025th
    assert found == [(one, one + 1) for one in range(1500)] if whole else found[-1] == (1024, 5000)
    assert len(found) == (1500 if whole else 1026)
    assert take_losses() == ({} if whole else {("redact", "too_slow"): 1})


@pytest.mark.parametrize(
    ("what", "found", "is_broken"),
    [
        (Found(secret=True), [(3, 8)], False),
        (Found(secret=True, base64=True), [(2, 9)], False),
        (Found(piece=True), [], True),
        (Found(secret=True, piece=True), [(3, 8)], True),
        (Found(), [], False),
    ],
)
def test_a_secret_is_masked_and_a_short_piece_of_one_is_remembered(what, found, is_broken):
    search, _ = searching(b"-abcdefghi-")
    search._follow(what, 3, 8)
    assert (search.found, search.is_broken, search.done) == (found, is_broken, 0)


@pytest.mark.parametrize(("length", "sure"), [(11, False), (12, True)])
def test_a_piece_of_twelve_bytes_is_sure(length, sure):
    search, _ = searching(b"-" * 40)
    search._follow(Found(piece=True), 5, 5 + length)
    assert search.found == [(5, 5 + length)] * sure


KEY = b"-----BEGIN RSA PRIVATE KEY-----"


@pytest.mark.parametrize(("after", "end"), [(b"abc-----END x", 3), (b"abc", 3), (b"-----END x", 0), (b"", 0)])
def test_a_private_key_is_masked_up_to_its_end_or_that_of_the_text(after, end):
    search, _ = searching(KEY + after)
    search._follow(Found(armour=True), 0, 10)
    assert search.found == ([(len(KEY), len(KEY) + end)] if end else [])
    assert search.done == (len(KEY) + end if end else 0)


def test_what_a_rule_has_masked_is_not_looked_at_again():
    search, _ = searching(KEY + b"abc")
    search.done = 1
    search._follow(Found(armour=True), 0, 10)
    assert search.found == []
    search.done = 0
    search._mask(2, 2)
    assert (search.found, search.done) == ([], 0)
    search._mask(2, 9)
    search._mask(1, 5)
    assert (search.found, search.done) == ([(2, 9), (1, 5)], 9)


def test_the_first_rule_that_fits_masks_its_last_group_or_all_of_its_match():
    search, _ = searching(b"key=abc")
    search._follow(Found(rules=(b"nothing", b"key=(\\w+)", b"key=a")), 0, 3)
    search._follow(Found(rules=(b"key=\\w",)), 0, 3)  # what stands there is done
    assert search.found == [(4, 7)]
    other, _ = searching(b"key=abc")
    other._follow(Found(rules=(b"key=\\w+",)), 0, 3)
    assert other.found == [(0, 7)]


@pytest.mark.parametrize(
    ("raw", "masked"),
    [
        ("password=hunter2", "password=***"),
        ("xpassword=hunter2 y", "xpassword=*** y"),
        ("password = 'hun ter2' y", "password = '***' y"),
        (r'password="hun\"ter2" y', 'password="***" y'),
        (r'password="hunter2\" y" z', 'password="***" z'),
        (r"password=\"hunter2\" y", r"password=\"***\" y"),
        ("password='hunter2", "password='***"),
        ("password=null", "password=null"),
        ("password='null' x", "password='null' x"),
        ("password=", "password="),
        ("password={hunter2};", "password={***};"),
        ("PWD=/home/ann", "PWD=/home/ann"),
        ("PWD='~/x'", "PWD='~/x'"),
        ("PWD=hunter2", "PWD=***"),
        ("cookie: a=1; b=2\nnext", "cookie: ***\nnext"),
        ("password: |\n  hunter2\n  more\nnext", "password: |\n  ***\nnext"),
        ("Authorization: Bearer hunter2abc x", "Authorization: Bearer *** x"),
        ("mysql --password hunter2 db", "mysql --password *** db"),
        ("the password hunter2", "the password hunter2"),
        ("password 'hunter2'", "password '***'"),
        ("IDENTIFIED_PASSWORD 'hunter2'", "IDENTIFIED_PASSWORD '***'"),
        ("arn:aws:secretsmanager:eu:1:secret:name-1", "arn:aws:secretsmanager:eu:1:secret:name-1"),
        ("arn:aws:secretsmanager:eu:1:x:y secret: hunter2", "arn:aws:secretsmanager:eu:1:x:y secret: ***"),
        ("a%26password=hunter2", "a%26password=***"),
        (r"a\npassword=hunter2", r"a\npassword=***"),
        ("https://ann:hunter2@h/ https://h/ x://u:p2@i", "https://ann:***@h/ https://h/ x://u:***@i"),
        ("https://ann:null@h", "https://ann:null@h"),
        ("token_count=5 password=hunter2", "token_count=5 password=***"),
    ],
)
def test_the_value_of_a_name_is_masked_to_its_end_and_no_further(raw, masked):
    assert text(raw) == masked


@pytest.mark.parametrize(("length", "masked"), [(4094, True), (4096, False), (5000, False)])
def test_the_end_of_a_quoted_value_is_looked_for_within_four_kilobytes(length, masked):
    found = text("password='" + "ab " * (length // 3) + "c" * (length % 3) + "' y")
    assert (found == f"password='{MASK}' y") is masked
    assert found.startswith(f"password='{MASK}")


@pytest.mark.parametrize(("length", "kept"), [(500, False), (501, True)])
def test_of_what_nobody_can_act_on_so_many_letters_are_kept(length, kept):
    assert redact.inert("x" * length) == "x" * 500
    assert (redact.inert("x" * 600, longest=length) == "x" * length) or kept


SECRET = "".join(f"sea-{number:02}." for number in range(20))


@pytest.mark.parametrize("gap", ["\n", "\r\n    ", "\\n"])
@pytest.mark.parametrize("width", [40, 64, 76])
def test_base64_of_a_secret_is_masked_across_line_breaks_and_nothing_beside_it(gap, width):
    redact.add_secret(SECRET)
    code = base64.b64encode(SECRET.encode()).decode()
    broken = gap.join(code[at : at + width] for at in range(0, len(code), width))
    assert text(f"before {broken} after\nnext line") == f"before {MASK} after\nnext line"


@pytest.mark.parametrize(
    ("raw", "hint", "found", "name_ends"),
    [
        (b"password=hunter2", (0, 8), [(9, 16)], 8),
        (b"-password hunter2", (1, 9), [(10, 17)], 9),
        (b"-" + b"a" * 63 + b"password hunter2", (64, 72), [(73, 80)], 72),
        (b"-" + b"a" * 64 + b"password hunter2", (65, 73), [], 73),
        (b"password_hash_of=hunter2", (0, 8), [(17, 24)], 16),
        (b"password", (0, 8), [], 8),
        (b"pass word=hunter2", (5, 9), [], 9),
    ],
)
def test_a_name_is_read_from_its_beginning_to_its_end_and_once(raw, hint, found, name_ends):
    search, _ = searching(raw)
    search._follow(Found(name=True), *hint)
    assert (search.found, search.name_ends) == (found, name_ends)
    search.found.clear()
    search.done = 0
    search._follow(Found(name=True), *hint)
    assert search.found == []


@pytest.mark.parametrize(
    ("raw", "masked"),
    [
        (r"\npwd=hunter2", r"\npwd=***"),
        (r"a\npwd=hunter2", r"a\npwd=***"),
        ("%26pwd=hunter2", "%26pwd=***"),
        ("a%2526pwd=hunter2", "a%2526pwd=***"),
        (r'password="ab\"\"cd" y', 'password="***" y'),
        ("password='' y", "password='' y"),
        ("://ann:hunter2@h", "://ann:***@h"),
        ("x://://ann:hunter2@h", "x://://ann:***@h"),
        ("(password, 'hunter2')", "(password, 'hunter2')"),
        ('{password,"hunter2"}', '{password,"***"}'),
        (':password "hunter2"', ':password "hunter2"'),
        ('{:password "hunter2"}', '{:password "***"}'),
        ("<password>hunter 2</password>", "<password>***</password>"),
        ("<name>password</name><value>hunter 2</value>", "<name>password</name><value>***</value>"),
        ("password=get('hunter2')", "password=get('***')"),
        ("ENV DB_PASSWORD hunter2", "ENV DB_PASSWORD ***"),
        ("x=%7B&password=hunter%20two&y=1", "x=%7B&password=***&y=1"),
        ("password=hunter2%26two x", "password=*** x"),
        ("u=http%3A%2F%2Fh%3Fapi_key%3Dhunter2abc%26next%3D1", "u=http%3A%2F%2Fh%3Fapi_key%3D***%26next%3D1"),
    ],
)
def test_names_and_values_stand_in_many_forms(raw, masked):
    assert text(raw) == masked
