"""`polis graph`: the state machine, and where the workspace is in it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polis.cli import output
from polis.cli.session import globals_of, open_workspace, reporting, specification
from polis.errors import DriverMissing

if TYPE_CHECKING:
    from polis.cli.globals import Globals
    from polis.diagram import Diagram


class Format(StrEnum):
    """How the graph is written."""

    MERMAID = "mermaid"
    SVG = "svg"


SUFFIXES = {Format.MERMAID: (".mmd", ".mermaid"), Format.SVG: (".svg",)}


def graph(
    context: typer.Context,
    form: Annotated[
        Format | None, typer.Option("--format", help="What to write [default: what FILE's name says, or mermaid].")
    ] = None,
    target: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write a file instead of stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that polis did not draw.")] = False,
) -> None:
    """Draw the phases, the moves between them, and which phase holds. Changes nothing in the workspace."""
    options = globals_of(context)
    with reporting(options):
        chosen = form or _form(target)
        if target is not None:
            from polis.pictures import files

            files.require(
                target, SUFFIXES[chosen] if form else [each for s in SUFFIXES.values() for each in s], force=force
            )
        found = _look(options)
        if target is not None:
            files.write(target, _draw(found, chosen))
        if options.json:
            document = found.document()
            output.document({**document, "file": str(target)} if target is not None else document)
        elif target is not None:
            output.result(f"{target} shows workspace {found.workspace}: {found.phase}")
        else:
            output.verbatim(_draw(found, chosen))


def _form(target: Path | None) -> Format:
    return Format.SVG if target is not None and target.suffix.lower() in SUFFIXES[Format.SVG] else Format.MERMAID


def _look(options: Globals) -> Diagram:
    """Return the machine with the workspace in it; without a driver there can be none, unless it has left a record."""
    from polis import diagram, paths
    from polis.phase import Phase

    try:
        return diagram.of(open_workspace(options).status().document)
    except DriverMissing:
        name = specification(options).name
        if paths.find().workspace(name).exists():
            raise
        return diagram.Diagram(name, Phase.ABSENT)


def _draw(found: Diagram, form: Format) -> str:
    from polis.pictures import drawing, mermaid
    from polis.pictures import graph as pictured

    return drawing.render(pictured.draw(found)) if form is Format.SVG else mermaid.render(found)
