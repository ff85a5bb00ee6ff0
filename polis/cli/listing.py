"""`polis list`: all workspaces of this user."""

from __future__ import annotations

from typing import Any

import typer

from polis.cli import output
from polis.cli.session import globals_of, reporting


def list_(context: typer.Context) -> None:
    """List all workspaces, without asking the VMs.

    What is told of each is what is recorded.
    """
    options = globals_of(context)
    with reporting(options):
        from polis import paths

        places = paths.find()
        rows = [_row(places, name) for name in places.workspace_names()]
        if options.json:
            output.document({"schema": 1, "workspaces": rows})
        elif rows:
            output.result(
                "\n".join(f"{row['workspace']:<20}{row['phase']:<16}{row['detail']}".rstrip() for row in rows)
            )
        else:
            output.result("there is no workspace; `polis up` makes one")


def _row(places: Any, name: str) -> dict[str, Any]:
    """Return one workspace's row; a damaged record spoils its own row only."""
    from polis.errors import PolisError
    from polis.store import Store

    try:
        record = Store(places.workspace(name)).load().record
    except PolisError as error:
        return {"workspace": name, "phase": "unknown", "driver": None, "detail": str(error)}
    if record is None:
        return {"workspace": name, "phase": "unknown", "driver": None, "detail": "no record"}
    detail = f"last error: {record.last_error.message}" if record.last_error else ""
    return {"workspace": name, "phase": record.phase.value, "driver": record.driver, "detail": detail}
