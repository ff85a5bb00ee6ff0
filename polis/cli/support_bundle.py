"""`polis support-bundle`: one file for a bug report."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polis.cli import output
from polis.cli.session import globals_of, open_workspace, reporting, specification
from polis.errors import PolisError, UsageError

if TYPE_CHECKING:
    from polis.cli.globals import Globals
    from polis.config import Spec
    from polis.support import Written
    from polis.workspace import Workspace

File = Annotated[
    Path | None,
    typer.Argument(help="The file to write [polis-support-NAME-TIME.tar.gz].", show_default=False),
]


def support_bundle(context: typer.Context, file: File = None) -> None:
    """Collect what a bug report needs in one file: logs, versions, state and configuration, without known secrets.

    Works with or without a VM; what cannot be had is named in the file, with the reason.
    """
    options = globals_of(context)
    with reporting(options):
        from polis import hiding, paths, support
        from polis.events import timestamp

        now = datetime.now(UTC)
        spec, workspace = _specified(options), _opened(options)
        name = spec.name if spec is not None else _name(options)
        target = file if file is not None else Path(f"polis-support-{name}-{now:%Y%m%dT%H%M%SZ}.tar.gz")
        places = paths.find()
        hiding.learn(name, places, spec)
        about = {"workspace": name, "created_at": timestamp(now)}
        done = support.write(target, support.parts(name, places, workspace), about)
        if options.json:
            output.document({"schema": 1, "workspace": name, **done.document()})
        else:
            output.result(_told(done))


def _specified(options: Globals) -> Spec | None:
    try:
        return specification(options)
    except PolisError:
        return None


def _opened(options: Globals) -> Workspace | PolisError:
    """Return the workspace, or why there is none: a configuration, a record or a tool may be what is to be reported."""
    try:
        return open_workspace(options)
    except PolisError as error:
        return error


def _name(options: Globals) -> str:
    """Return the name of a workspace whose configuration cannot be read. Raises UsageError if it is no name."""
    from polis.defaults import NAME, NAME_LIMIT, NAME_PATTERN

    name = options.name or os.environ.get("POLIS_NAME") or NAME
    if len(name) > NAME_LIMIT or re.fullmatch(NAME_PATTERN, name) is None:
        raise UsageError(f"`{name}` is not the name of a workspace")
    return name


def _told(done: Written) -> str:
    parts = [f"  {name:<32}{size:>10} bytes" for name, size in done.parts.items()]
    missing = [f"  {name:<32}not in it: {output.one_line(reason)}" for name, reason in done.omitted.items()]
    lines = [f"{done.path}: {done.size / 1e3:.1f} kB", *parts, *missing, "", _advice()]
    return "\n".join(lines)


def _advice() -> str:
    from polis.support import ADVICE

    return ADVICE
