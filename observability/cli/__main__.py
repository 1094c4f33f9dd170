"""``python -m observability.cli`` is ``contrail``."""

from observability.cli import main

main()
