"""`polis cloud-init`: the document that a VM is born with, shown and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polis.cli import output
from polis.cli.session import globals_of, reporting, specification

app = typer.Typer(
    help="Show and check what a VM runs at its first boot.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[Path | None, typer.Option("--cloud-init", help="Another document than the configured one.")]


@app.command()
def show(
    context: typer.Context,
    diff: Annotated[bool, typer.Option("--diff", help="Only what differs from the shipped document.")] = False,
    cloud_init: File = None,
) -> None:
    """Print the document exactly as it would be sent, with this site's mirrors, proxy and certificates in it."""
    options = globals_of(context)
    with reporting(options):
        from polis import assembly

        wanted = assembly.user_data(specification(options, cloud_init=cloud_init))
        text = wanted.difference() if diff else wanted.render()
        if options.json:
            output.document({"schema": 1, "name": wanted.name, "text": text})
        else:
            output.result(text.rstrip("\n") or "no difference: the shipped document is sent as it is")


@app.command()
def check(context: typer.Context, cloud_init: File = None) -> None:
    """Check the document as `polis up` does before it launches anything; exit with 78 if it would be refused."""
    options = globals_of(context)
    with reporting(options):
        from polis import assembly

        wanted = assembly.user_data(specification(options, cloud_init=cloud_init))
        warnings = assembly.check_user_data(wanted)
        if options.json:
            output.document({"schema": 1, "name": wanted.name, "ok": True, "warnings": warnings})
        else:
            output.result("\n".join([*[f"warning: {text}" for text in warnings], f"{wanted.name} can be used"]))
