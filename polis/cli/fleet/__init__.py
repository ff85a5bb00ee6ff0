"""`polis fleet`: many workspaces at once, described by one file (docs/fleets.md)."""

from __future__ import annotations

import typer

from polis.cli.fleet import changing, reading

app = typer.Typer(
    help="Do with many workspaces, listed in a fleet.yaml, what single commands do with one.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _command in (reading.plan, changing.up, reading.status, changing.stop, changing.reset, changing.delete):
    app.command()(_command)
