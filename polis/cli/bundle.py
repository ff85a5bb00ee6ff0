"""`polis bundle`: a workspace as one file, for a VM with no way out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polis.cli import output
from polis.cli.globals import Wait
from polis.cli.session import globals_of, open_workspace, reporting

app = typer.Typer(
    help="Carry a workspace to where there is no network.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def bundle() -> None:
    """Carry a workspace to where there is no network."""  # with this, typer leaves the name of a lone command in


@app.command("lock")
def lock(context: typer.Context) -> None:
    """Print images.lock: which image each reference of this workspace stands for.

    Put into a bundle, or named by `images_lock`, no other image is ever started under these references.
    """
    from polis.bundle import imagelock

    with reporting(globals_of(context)):
        output.verbatim(imagelock.render(open_workspace(globals_of(context)).images()))


@app.command()
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.", show_default=False)],
    wait: Wait = 0.0,
) -> None:
    """Write bundle, packages and images of a workspace to FILE, for `polis up --offline FILE` elsewhere.

    The VM must be up with its images pulled; it is not changed. The base image is not in the file.
    """
    options = globals_of(context)
    with reporting(options, stream=True):
        workspace = open_workspace(options, progress=True)
        done = workspace.export(file, wait=wait)
        if options.json:
            facts = {"file": str(done.path), "size": done.size, "sha256": done.sha256}
            counts = {"images": done.images, "packages": done.packages}
            output.document({"event": "result", "outcome": "exported", "exit_code": 0, **facts, **counts}, compact=True)
        else:
            output.result(
                f"{done.path}: {done.size / 1e6:.1f} MB, {done.images} images, {done.packages} packages\n"
                f"sha256 {done.sha256}"
            )
