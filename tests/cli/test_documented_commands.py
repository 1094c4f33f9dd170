"""Each ``contrail`` command that a page, a comment or a message of ours names is there, with its options."""

import re
import shlex
from pathlib import Path

import pytest

from observability.cli import COMMANDS, load_command

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "config/*", ".env.example", "docker-compose.yml", "observability/**/*.py")
    for path in ROOT.glob(pattern)
    if path.is_file()
)
_NAMED = re.compile(r"`(contrail [a-z][^`\n|·]*)`")
_BARE = re.compile(r"^(?:\$ )?(contrail [a-z][^\n|]*?)(?:\s{2,}.*|\s+#.*)?$", re.MULTILINE)


def commands():
    for path in PAGES:
        text = path.read_text("utf-8")
        found = _NAMED.findall(text) + (_BARE.findall(text) if path.suffix == ".md" else [])
        for command in dict.fromkeys(found):
            yield pytest.param(command, id=f"{path.relative_to(ROOT)}: {command}")


def resolve(words):
    """The command that the words lead to, and the words that are left."""
    if words[0] not in COMMANDS:
        return None, words
    node, words = load_command(words[0]), words[1:]
    while words and words[0] in getattr(node, "commands", {}):
        node, words = node.commands[words[0]], words[1:]
    return node, words


def test_there_are_such_commands():
    assert len(list(commands())) > 60


@pytest.mark.parametrize("command", list(commands()))
def test_it_is_there_with_its_options(command):
    words = shlex.split(command.replace("[", "").replace("]", "").replace("…", "").partition(" (")[0], comments=True)[
        1:
    ]
    node, left = resolve(words)
    assert node is not None, f"there is no command {words[0]}"
    if getattr(node, "commands", None):  # a group: what is left can only be an option of it
        assert [word for word in left if re.fullmatch(r"[a-z]+", word)] == []
    known = {name for parameter in node.params for name in (*parameter.opts, *parameter.secondary_opts)}
    options = [word.partition("=")[0] for word in left if word.startswith("-") and word != "--help"]
    if node.name != "airflow":  # passes everything on
        assert [option for option in options if option not in known] == []
