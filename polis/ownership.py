"""Whose instance is it? Polis touches only what it created itself (DESIGN section 3, "ownership").

Proof is, in this order: the owner that the driver stamped on the instance, the marker in the guest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis.drivers.base import InstanceState
from polis.errors import ForeignInstance

if TYPE_CHECKING:
    from polis.states.observation import Observation
    from polis.store import Record


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


def objection(record: Record | None, seen: Observation, workspace: str) -> str:
    """Return in words why the instance may not be touched, or an empty string."""
    if seen.instance is None:
        return ""
    who = owner(seen)
    if record is None:
        return "" if who is not None and is_named(seen, workspace) else "it carries no mark of a Polis workspace"
    if who is None:
        return "" if record.created_from is not None else "it carries no mark of this workspace"
    return "" if who == record.id else f"it belongs to another workspace (id {who})"


def check(record: Record, seen: Observation, workspace: str) -> None:
    """Raise ForeignInstance if the instance is not this workspace's own."""
    reason = objection(record, seen, workspace)
    if reason and seen.instance is not None and seen.instance.state is InstanceState.DELETED:
        tool = seen.instance.driver
        raise ForeignInstance(
            f"a deleted instance keeps the name {workspace}, and this workspace did not create it",
            cause=seen.instance.detail,
            remains="the instance is untouched",
            hint=f"choose another name with `-n`; or `{tool} recover {workspace}` brings it back, "
            f"`{tool} delete --purge {workspace}` frees the name",
        )
    if reason:
        raise ForeignInstance(
            f"an instance named {workspace} exists, and this workspace did not create it",
            cause=reason,
            remains="the instance is untouched",
            hint="choose another name with `-n`, or take it over with `polis up --adopt`",
        )
