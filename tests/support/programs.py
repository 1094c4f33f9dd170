"""Programs beside Python that tests need, by the mark of the tests; without them these skip themselves by name."""

from __future__ import annotations

import shutil

__all__ = ["NEEDED", "why_not"]

NEEDED = {"browser": (("chromium", "chromedriver"), "chromium chromium-driver")}
"""Mark → programs, and Debian's packages of them."""


def why_not(mark):
    """The reason why tests of this mark cannot run here, "" where they can."""
    programs, packages = NEEDED[mark]
    missing = [program for program in programs if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}; apt-get install {packages}" if missing else ""
