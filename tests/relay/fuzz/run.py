"""Fuzz one target, guided by coverage: ``python tests/relay/fuzz/run.py TARGET [libFuzzer options]``.

An input that breaks a law, or takes long, is kept in a temporary folder, which the last line names.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import atheris

_HERE = Path(__file__)
sys.path[:0] = [str(_HERE.parent), str(_HERE.parents[2] / "support"), str(_HERE.parents[2]), str(_HERE.parents[3])]
with atheris.instrument_imports(include=["observability"]):
    from answer_targets import ANSWER_TARGETS, ANSWERS
    from corpus import CORPUS, TOKENS
    from received_targets import RECEIVED_TARGETS, SENT
    from targets import TARGETS
    from written_targets import WRITTEN, WRITTEN_TARGETS


def main() -> None:
    """Run until the given number of executions is reached or a law is broken; leave nothing behind but the input."""
    name, *options = sys.argv[1:]
    folder = Path(tempfile.mkdtemp(prefix="contrail-corpus-"))
    found = Path(tempfile.mkdtemp(prefix=f"contrail-fuzz-{name}-"))
    if child := os.fork():  # libFuzzer leaves by _exit: only its parent can tidy up
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _, status = os.waitpid(child, 0)
        shutil.rmtree(folder, ignore_errors=True)
        if any(found.iterdir()):
            sys.stderr.write(f"ERROR: inputs to look at are in {found}\n")
        else:
            found.rmdir()
        sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
    seeds = folder / "corpus"
    seeds.mkdir()
    for number, seed in enumerate((CORPUS | ANSWERS | SENT | WRITTEN)[name]):
        seeds.joinpath(str(number)).write_bytes(seed)
    words = folder / "words.dict"
    words.write_text("".join(f'"{escaped(token)}"\n' for token in TOKENS))
    atheris.Setup(
        [sys.argv[0], f"-dict={words}", f"-artifact_prefix={found}/", "-max_len=4096", *options, str(seeds)],
        (TARGETS | ANSWER_TARGETS | RECEIVED_TARGETS | WRITTEN_TARGETS)[name],
    )
    atheris.Fuzz()


def escaped(token: bytes) -> str:
    return "".join(rf"\x{byte:02x}" for byte in token)


if __name__ == "__main__":
    main()
