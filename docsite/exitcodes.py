"""The exit codes, as `polis exit-codes --json` tells them."""

from __future__ import annotations

from docsite.markdown import code, plain, table
from polis.cli.exit_codes import row
from polis.errors import ExitCode


def page() -> str:
    """Return one row for each exit code."""
    rows = [row(each) for each in ExitCode]
    return "\n".join(
        table(
            ("code", "name", "meaning", "tried again by itself", "kinds of error"),
            (
                (
                    str(each["code"]),
                    code(each["name"]),
                    plain(each["meaning"]),
                    "yes" if each["retryable"] else "no",
                    ", ".join(code(kind) for kind in each["kinds"]),
                )
                for each in rows
            ),
        )
    )
