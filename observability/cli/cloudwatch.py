"""``contrail cloudwatch``: what an account needs before the relay may send."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from observability.cli.plain_typer import PlainTyper
from observability.settings import get_settings, load_settings
from observability.store.aws import iam_policy

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["app", "generate"]

app = PlainTyper(help="What an AWS account needs before the relay may send.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keep ``policy`` a command of its own, also while it is the only one."""


@app.command()
def policy() -> None:
    """Print the IAM policy for exactly the calls that Contrail makes, for this environment.

    Examples:
      contrail cloudwatch policy > contrail-policy.json
    """
    typer.echo(json.dumps(iam_policy(get_settings()), indent=2))


def generate(folder: Path) -> Path:
    """Write the policy with ``${Environment}`` in place of a name, for reading and for review."""
    path = folder / "iam-policy.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    policy = iam_policy(load_settings(environ={}), "${Environment}")
    path.write_text(json.dumps(policy, indent=2) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    app()
