"""`polis version`: what this is and what it runs on."""

from __future__ import annotations

import typer

from polis import __version__
from polis.cli import output
from polis.cli.session import globals_of, reporting


def version(context: typer.Context) -> None:
    """Show the versions of Polis and Python, and the release of images that belongs to it."""
    import platform

    options = globals_of(context)
    with reporting(options):
        facts = {"schema": 1, "polis": __version__, "python": platform.python_version(), "images": f"v{__version__}"}
        if options.json:
            output.document(facts)
        else:
            output.result(f"polis {__version__} (Python {facts['python']}, images {facts['images']})")
