"""Messages within the limits of services: the essentials stay, and no character, entity or fence is cut in two."""

from __future__ import annotations

import re
import unicodedata
from html import unescape

import apprise
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observability.watch.heartbeat import canary_message
from observability.watch.notify import render
from observability.watch.notify.channels import apprise as channels
from observability.watch.notify.channels import sns
from observability.watch.notify.channels.pagerduty import payload
from observability.watch.notify.messages import Message
from observability.watch.notify.size_limits import code_units, essentials, fitted, shorten, utf8_bytes

FAMILY, FLAG, THUMB, ACCENT = "👨‍👩‍👧", "🇩🇪", "👍🏽", "e\u0301"
GRAPHEMES = st.lists(st.sampled_from([FAMILY, FLAG, THUMB, ACCENT, *"a&<`|ü🔥\n"]), max_size=60)
LONG = "x" * 300
TEXTS = st.text(st.sampled_from("ab&<>\"'`*_|@#[]()!\\ü🐘🔥 "), max_size=400)


def long_message(text="a & b < c `x` "):
    return Message(
        kind="opened", severity="error", title="load: extract was killed (SIGKILL)", summary=text * 40, dedup_key="i:1",
        incident_id="i1", pair="i1", dag_id="load", environment="prod",
        details=tuple((f"Label {number}", text * 30) for number in range(12)),
        log=tuple(f"{number} {text * 20}"[:300] for number in range(12)),
        links=tuple((f"Link {number}", f"https://airflow.example.com/{LONG}?a=1&b={number}") for number in "01234"),
    )  # fmt: skip


@given(GRAPHEMES, st.integers(0, 80))
def test_a_text_is_cut_between_characters_as_people_see_them(graphemes, most):
    text = "".join(graphemes)
    cut = shorten(text, most)
    assert len(cut) <= most
    if cut != text and cut not in {"", "…"}:
        kept = cut.removesuffix("…")
        ends = {"".join(graphemes[:number]).rstrip() for number in range(len(graphemes) + 1)}
        assert kept in ends


@given(st.text(max_size=200), st.integers(0, 200))
def test_a_cut_text_is_the_beginning_of_it_and_has_no_half_of_a_pair(text, most):
    cut = shorten(text, most, code_units)
    assert code_units(cut) <= most
    assert cut == text or text.startswith(cut.removesuffix("…"))
    kept = cut.removesuffix("…")
    if cut != text and kept and len(kept) < len(text):
        assert not unicodedata.combining(text[len(kept)])


@pytest.mark.parametrize("most", [60, 120, 160, 255, 500, 1024, 2000, 4096, 32_768])
@pytest.mark.parametrize("form", ["text", "markdown", "chat_html"])
@pytest.mark.parametrize("text", ["a & b < c `x` ", "🐘🔥", "*bold* [x](http://evil) ``` ", '<b>"&amp;"</b>'])
def test_every_form_fits_and_is_whole(most, form, text):
    shown = fitted(long_message(text), getattr(render, form), most, code_units)
    assert code_units(shown) <= most
    assert "was killed" in unescape(shown).replace("\\", "") or most < 100
    if form == "markdown":
        assert shown.count("```") in {0, 2}
        shown = re.sub(r"(?s)```.*```", "", shown)
    if form == "chat_html":
        for tag in ("b", "pre", "a"):
            assert shown.count(f"<{tag}") - shown.count("<br") * (tag == "b") == shown.count(f"</{tag}>")
    if form != "text":
        assert re.findall(r"&(?!amp;|lt;|gt;|quot;|#x27;|#35;)", re.sub(r"\(http[^)]*\)", "", shown)) == []


def test_the_title_stays_first_and_the_log_goes_before_the_details():
    shown = fitted(long_message(), render.text, 2000)
    assert shown.startswith("[prod] load: extract was killed (SIGKILL)")
    assert "Label 0" in shown
    assert "https://airflow.example.com/" in shown


def test_the_newest_lines_of_the_log_stay():
    shown = fitted(long_message("x "), render.text, 6000)
    assert "  11 x" in shown


@settings(deadline=None)
@given(TEXTS)
def test_slack_blocks_stay_within_its_limits_with_every_entity_whole(text):
    body = render.slack(long_message(f"{text} "))
    texts = [block["text"]["text"] for block in body["blocks"] if "text" in block]
    fields = [field["text"] for block in body["blocks"] for field in block.get("fields", ())]
    assert len(body["blocks"]) <= 50
    assert all(code_units(one) <= 3000 for one in texts)
    assert all(code_units(one) <= 2000 for one in fields)
    assert all(len(block["fields"]) <= 10 for block in body["blocks"] if "fields" in block)
    assert code_units(body["blocks"][0]["text"]["text"]) <= 150
    for one in (*texts[1:], *fields):
        assert re.findall(r"&(?!amp;|lt;|gt;)", one) == []
        assert one.count("```") in {0, 2}


def test_pagerduty_gets_no_more_than_it_takes():
    said = payload(long_message("🐘" * 500), "k")
    assert len(said["payload"]["summary"]) <= 1024
    assert len(said["dedup_key"]) <= 255


def test_what_is_essential_is_title_summary_and_one_link():
    short = essentials(long_message())
    assert (short.title, len(short.links), short.log, short.details) == (long_message().title, 1, (), ())
    assert len(short.summary) <= 160


SIGNS = ["ab ", "\n", "&", "<>", "\"'", "`", "```", "*_|@#", "[](!)", "\\", "ü漢", "🐘🔥", "e\u0301", FAMILY]
PIECES = st.lists(st.sampled_from(SIGNS))
ANY = st.tuples(PIECES, st.sampled_from([1, 3, 30])).map(lambda found: "".join(found[0]) * found[1])


def many(strategy):
    """A tuple of few different values, and of up to 60."""
    return st.tuples(st.lists(strategy, max_size=3), st.sampled_from([1, 4, 20])).map(
        lambda found: tuple(found[0] * found[1])
    )


LABELS = st.sampled_from(["Cause", "Next step", "Runs that failed so"])
MESSAGES = st.builds(
    Message,
    kind=st.sampled_from(["opened", "resolved", "digest"]), severity=st.just("error"), title=ANY, summary=ANY,
    dedup_key=st.text(min_size=1, max_size=300), incident_id=ANY, dag_id=ANY, environment=ANY,
    details=many(st.tuples(LABELS, ANY)), log=many(ANY),
    links=many(st.tuples(LABELS, ANY.map(lambda end: f"https://a.example/{end}"))),
    incidents=many(st.fixed_dictionaries({"title": ANY.map("a{}".format), "incident_id": ANY})),
)  # fmt: skip
"""Messages far beyond what the watcher makes: no renderer counts on the others' care."""
FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(MESSAGES)
def test_slack_takes_any_message_in_blocks_units_and_all_together(message):
    body = render.slack(message)
    texts = [block["text"]["text"] for block in body["blocks"] if "text" in block]
    fields = [
        part["text"] for block in body["blocks"] for part in (*block.get("fields", ()), *block.get("elements", ()))
    ]
    assert len(body["blocks"]) <= 50
    assert sum(map(code_units, (*texts, *fields))) <= 12_000
    assert code_units(texts[0]) <= 150
    assert max(map(code_units, texts)) <= 3000
    for one in (*texts[1:], *fields):
        assert re.findall(r"&(?!amp;|lt;|gt;)", re.sub(r"<https[^|]*\|", "", one)) == []
        assert one.count("```") in {0, 2}
    orjson.dumps(body)


@FEW
@given(MESSAGES)
def test_pagerduty_takes_any_message_in_bytes(message):
    body = payload(message, "k")
    assert len(orjson.dumps(body)) <= 512_000
    assert len(body["dedup_key"]) <= 255
    if body["event_action"] == "trigger":
        assert 0 < code_units(body["payload"]["summary"]) <= 1024 or not render.subject(message)


class Topic:
    """Keeps what SNS would be asked."""

    def publish(self, **asked):
        self.asked = asked
        return {}


@FEW
@given(MESSAGES)
def test_sns_takes_any_message_in_bytes_with_an_ascii_subject_and_keys(message):
    topic = Topic()
    sns._Sns("c", "arn:aws:sns:eu-central-1:1:t.fifo", topic).send(message, resent=False)
    asked = topic.asked
    assert utf8_bytes(asked["Message"]) + utf8_bytes(orjson.dumps(asked["MessageAttributes"]).decode()) <= 262_144
    assert re.fullmatch(r"[!-~][ -~]{0,98}", asked["Subject"])
    for key in ("MessageDeduplicationId", "MessageGroupId"):
        assert re.fullmatch(r"[!-~]{1,128}", asked[key])


SERVICES = {
    f"discord://{'1' * 20}/{'t' * 60}": 2000,
    "tgram://123456789:abcdefg_hijklmnop/12315544/": 4096,
    "workflows://host:443/workflowid/signature/": 28_000,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("url", SERVICES)
@FEW
@given(message=MESSAGES)
def test_chat_services_take_any_message_in_their_own_units(message, url):
    plugin = apprise.Apprise.instantiate(url)
    title, body, form = channels._fit(plugin, message)
    assert code_units(body) <= min(SERVICES[url], plugin.body_maxlen)
    assert code_units(title) <= max(plugin.title_maxlen, 0)
    if form == "markdown":
        assert body.count("```") in {0, 2}


def test_the_test_message_is_as_long_as_one_about_a_killed_task():
    assert len(render.text(canary_message("s", "prod", 0.0))) >= 4_800
