"""Whose instance is it? Polis touches only what it created itself (DESIGN section 3, "ownership").

Proof is, in this order: the owner that the driver stamped on the instance, the marker in the guest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.drivers.base import InstanceState
from polis.errors import ForeignInstance

if TYPE_CHECKING:
    from polis.drivers.base import Instance
    from polis.guest.session import Guest
    from polis.record import Record
    from polis.states.observation import Observation

ADOPT = "choose another name with `-n`, or take it over with `polis up --adopt`"


def owner(seen: Observation) -> str | None:
    """Return the id of the workspace that created the instance, if anything tells."""
    if seen.instance is not None and seen.instance.owner is not None:
        return seen.instance.owner
    marker = seen.report.marker if seen.report is not None else None
    return marker.id if marker is not None else None


def is_named(seen: Observation, workspace: str) -> bool:
    """Return whether the marker in the guest, if it can be read, names this workspace."""
    marker = seen.report.marker if seen.report is not None else None
    return marker is None or marker.workspace == workspace


@dataclass(frozen=True)
class Objection:
    """Why an instance may not be touched, and what the user can do about that."""

    reason: str
    remedy: str


def objection(record: Record | None, seen: Observation, workspace: str) -> Objection | None:
    """Return why the instance may not be touched, or None if it is this workspace's own."""
    if seen.instance is None:
        return None
    who = owner(seen)
    if who is None and record is not None and record.created_from is not None:
        return None
    if who is None:
        return _unmarked(seen, seen.instance, workspace)
    if record is None and not is_named(seen, workspace):
        return Objection("the mark in it names another workspace", ADOPT)
    if record is not None and who != record.id:
        return Objection(f"it belongs to another workspace (id {who})", ADOPT)
    return None


def _unmarked(seen: Observation, instance: Instance, workspace: str) -> Objection:
    another = "choose another name with `-n`"
    if instance.state is InstanceState.DELETED:
        recover, purge = (f"{instance.driver} {verb} {workspace}" for verb in ("recover", "delete --purge"))
        remedy = f"{another}; or `{recover}` brings it back, `{purge}` frees the name"
        return Objection(instance.detail or "it is deleted", remedy)
    if seen.report is None:
        condition = f"it is {instance.state}" if not seen.is_on else "it does not answer"
        switch_on = f"; or switch it on (`{instance.driver} start {workspace}`), then run the command again"
        return Objection(f"{condition}, so whose it is cannot be told", another + switch_on)
    return Objection("it carries no mark of a Polis workspace", another)


def require_own(guest: Guest, record: Record | None) -> None:
    """Raise ForeignInstance if there is a VM and it is not this workspace's, and what `Driver.find` raises.

    Nothing is asked of the guest where record and the driver's stamp tell.
    """
    from polis.states.observation import Observation, observe

    created_from = record.created_from if record is not None else None
    instance = guest.driver.find(name=guest.name)
    is_told = instance is None or (record is not None and instance.owner is not None)
    check(record, Observation(instance) if is_told else observe(guest, created_from), guest.name)


def check(record: Record | None, seen: Observation, workspace: str) -> None:
    """Raise ForeignInstance if the instance is not this workspace's own."""
    problem = objection(record, seen, workspace)
    if problem is None or seen.instance is None:
        return
    if seen.instance.state is InstanceState.DELETED:
        message = f"a deleted instance keeps the name {workspace}, and this workspace did not create it"
    else:
        message = f"an instance named {workspace} exists, and this workspace did not create it"
    raise ForeignInstance(message, cause=problem.reason, remains="the instance is untouched", hint=problem.remedy)
