"""Which areas are looked at for a workspace, and mending what can be mended safely."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from polis import assembly
from polis.doctor import embedded, health, incus, machine, multipass, network
from polis.doctor.findings import Finding, Level
from polis.errors import PolisError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polis.config import Spec
    from polis.paths import Paths
    from polis.workspace import Workspace


def examine(spec: Spec, paths: Paths, workspace: Workspace) -> list[Finding]:
    """Return all findings, the machine's first and the workspace's last."""
    facts = machine.Facts()
    found = list(machine.examine(spec, paths, facts))
    found += _driver(spec, workspace.driver_name, facts)
    addresses = assembly.user_data(spec).addresses()
    proxy = (spec.proxy.for_https or spec.proxy.for_http) if spec.proxy else None
    found += network.examine(network.places(spec, addresses), proxy=proxy, environ=os.environ)
    found += health.examine(workspace.exists, workspace.status)
    return found


def _driver(spec: Spec, chosen: str, facts: machine.Facts) -> Iterator[Finding]:
    """Yield what the chosen driver needs; the other one's troubles are nobody's."""
    if chosen == "multipass":
        yield from machine.bridged(facts)
        yield from multipass.examine(spec.name)
    elif chosen == "incus":
        from polis.drivers.incus.driver import IncusDriver

        yield from incus.examine(IncusDriver(assembly.incus_settings(spec)).server, spec.incus.kind)
    elif chosen == "qemu":
        yield from embedded.examine(spec.accel)


def mend(findings: list[Finding]) -> list[Finding]:
    """Apply every fix that there is; return the findings that remain, and what was done as findings that are well."""
    after = []
    for finding in findings:
        if finding.level is Level.OK or finding.fix is None:
            after.append(finding)
            continue
        try:
            done = finding.fix()
        except PolisError as error:
            after.append(dataclasses.replace(finding, what=f"{finding.what}; mending failed: {error}"))
        else:
            after.append(dataclasses.replace(finding, level=Level.OK, what=f"{finding.what}; mended: {done}", fix=None))
    return after
