"""`polis exit-codes`: what a script can rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from polis.cli import output
from polis.cli.session import globals_of, reporting
from polis.errors import ExitCode, PolisError

if TYPE_CHECKING:
    from collections.abc import Iterator

MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.BUG: "internal error: a bug in polis",
    ExitCode.USAGE: "usage; not confirmed",
    ExitCode.PENDING: "`--check`: not healthy, or something is to be done; `up`: a change that needs `--recreate`",
    ExitCode.NOT_FOUND: "no such workspace or service; the instance is not ours",
    ExitCode.LOCKED: "another polis is changing this workspace (--wait waits)",
    ExitCode.HOST: "the host is unsuitable: a tool is missing, the disk full, a port taken, a directory not writable",
    ExitCode.PROVISIONING: "the guest is not as it must be: cloud-init, a part, a check, an image, a service",
    ExitCode.TRANSIENT: "transient, after all attempts: registry, package sources, network, a silent guest",
    ExitCode.INTEGRITY: "a digest, sha256 or signature does not match",
    ExitCode.CONFIGURATION: "invalid configuration, bundle or document",
    ExitCode.INTERRUPTED: "interrupted by SIGINT",
    ExitCode.READER_GONE: "nobody reads the output any more; `up` goes on next time",
    ExitCode.TERMINATED: "interrupted by SIGTERM or SIGHUP",
}


def exit_codes(context: typer.Context) -> None:
    """List the exit codes, and what each means.

    With --json also the kinds of error that end with it, and whether trying again may help. `polis exec` passes the
    exit code of its command through, whatever it is.
    """
    options = globals_of(context)
    with reporting(options):
        rows = [row(code) for code in ExitCode]
        if options.json:
            output.document({"schema": 1, "exit_codes": rows})
        else:
            output.result("\n".join(_line(each) for each in rows))


def row(code: ExitCode) -> dict[str, Any]:
    """Return one exit code as the document has it; `kinds` and `retryable` are those of the errors themselves."""
    errors = [error for error in _errors(PolisError) if error.exit_code is code]
    return {
        "code": int(code),
        "name": code.name.lower().replace("_", "-"),
        "meaning": MEANINGS[code],
        "retryable": any(error.retryable for error in errors),
        "kinds": list(dict.fromkeys(error.kind for error in errors)),
    }


def _errors(base: type[PolisError]) -> Iterator[type[PolisError]]:
    yield base
    for each in base.__subclasses__():
        yield from _errors(each)


def _line(each: dict[str, Any]) -> str:
    again = "  (tried again; later it may work)" if each["retryable"] else ""
    return f"{each['code']:>3}  {each['name']:<14} {each['meaning']}{again}"
