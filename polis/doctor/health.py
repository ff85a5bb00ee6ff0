"""The workspace's own health, where there is one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from polis.doctor.findings import Finding, ok, problem
from polis.errors import DriverMissing, ExitCode, PolisError
from polis.phase import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polis.status import Status


FIRST = ("guest-answers", "cloud-init")
"""Checks without which nearly all others fail too; the workspace's own finding tells about them."""


def examine(exists: Callable[[], bool], look: Callable[[], Status]) -> Iterator[Finding]:
    """Yield what is wrong with the workspace; nothing if there is none."""
    try:
        if not exists():
            return
        status = look()
    except DriverMissing:
        return  # told by the driver's own examination
    except PolisError as error:
        yield _of_workspace(problem("workspace", str(error), why="what is there cannot be told", mend=error.hint))
        return
    document = status.document
    if status.phase is Phase.HEALTHY:
        yield ok("workspace", f"{document['workspace']} is healthy")
    else:
        reason = (document["obstacle"] or {}).get("reason", "")
        what = f"{document['workspace']} is {status.phase}" + (f": {reason}" if reason else "")
        yield _of_workspace(problem("workspace", what, why="it is not usable yet", mend=status.next_command))
    failed = [check for check in document["checks"] if check["state"] == "failed"]
    if not any(check["name"] in FIRST for check in failed):
        yield from map(_of_check, failed)


def _of_check(check: dict[str, Any]) -> Finding:
    # The detail names the command too, and a finding has its own place for it.
    seen = check["detail"].replace(f"; mend: {check['mend']}", "")
    return _of_workspace(problem(f"check {check['name']}", seen, why="the VM is not as it must be", mend=check["mend"]))


def _of_workspace(finding: Finding) -> Finding:
    return dataclasses.replace(finding, exit_code=ExitCode.PROVISIONING)
