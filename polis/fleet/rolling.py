"""A rolling upgrade: what was changed reaches the members so that never more than a few are down.

All are looked at first. Those that have what is wanted are left alone, those that are down come up at once, and those
whose services are up are taken a few at a time. Nothing else tells a good configuration from a bad one, so the first
member that does not come up again ends the upgrade: the others keep what they have.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from polis.errors import ChangesPending
from polis.fleet import run as runs
from polis.fleet.outcome import Outcome
from polis.fleet.schedule import InOrder, Rolling
from polis.phase import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polis.events import Event
    from polis.fleet.run import Deed, Result, Setting, Watcher
    from polis.fleet.spec import Member
    from polis.plan import Plan
    from polis.workspace import UpOptions, Workspace

NAMED = 8
"""Members that an error names."""


@dataclass
class Outlook:
    """What a look at every member says."""

    plans: dict[str, Plan] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def look(self, workspace: Workspace, options: UpOptions) -> Plan:
        """Look at one member, from any thread."""
        plan = workspace.plan(options)
        with self._lock:
            self.plans[workspace.name] = plan
        return plan


def upgrade(
    members: Sequence[Member], deed: Deed, setting: Setting, options: UpOptions, limit: int, *, recreate: bool
) -> Result:
    """Bring every member to healthy, with at most `limit` of them down at a time.

    Raises ChangesPending, before anything is touched, if members need a new VM and `recreate` does not say so. A member
    that cannot be looked at ends it there, too.
    """
    outlook = Outlook()
    watcher = setting.watcher
    quiet = replace(setting, watcher=_Onlooker(watcher))
    seen = runs.run(members, InOrder(members), lambda workspace: outlook.look(workspace, options).held.value, quiet)
    plans = outlook.plans
    if not all(outcome.is_good and outcome.member in plans for outcome in seen.outcomes):
        return replace(seen, outcomes=tuple(_left(outcome, plans.get(outcome.member)) for outcome in seen.outcomes))
    _refuse_new_vms([member.name for member in members if plans[member.name].recreate and not recreate])
    changing = [member for member in members if plans[member.name].next is not None]
    for member in members:
        if plans[member.name].next is None:
            _tell(watcher, _unchanged(member.name))
    down = [member for member in changing if not plans[member.name].serves]
    up = [member for member in changing if plans[member.name].serves]
    result = runs.run(changing, Rolling(down, up, limit), deed, setting)
    done = {outcome.member: outcome for outcome in result.outcomes}
    kept = {member.name for member in up}
    outcomes = [_final(member.name, done.get(member.name), is_up=member.name in kept) for member in members]
    for outcome in outcomes:
        if outcome.outcome == "kept":
            _tell(watcher, outcome)
    return runs.Result(tuple(outcomes), result.interruption)


class _Onlooker:
    """A watcher of the looks: what they found is told when it is acted upon, and what failed at once."""

    def __init__(self, inner: Watcher) -> None:
        self._inner = inner

    def begun(self, member: str) -> None:
        """Say nothing."""

    def happened(self, member: str, event: Event) -> None:
        self._inner.happened(member, event)

    def ended(self, outcome: Outcome) -> None:
        if not outcome.is_good:
            self._inner.ended(outcome)


def _tell(watcher: Watcher, outcome: Outcome) -> None:
    with contextlib.suppress(OSError):  # nobody reads any more
        watcher.ended(outcome)


def _left(outcome: Outcome, plan: Plan | None) -> Outcome:
    """Return how it ended for a member that was looked at, where another could not be."""
    if plan is None or not outcome.is_good:
        return outcome
    return _unchanged(outcome.member) if plan.next is None else Outcome(outcome.member, "kept")


def _unchanged(name: str) -> Outcome:
    return Outcome(name, Phase.HEALTHY.value, phase=Phase.HEALTHY.value)


def _final(name: str, outcome: Outcome | None, *, is_up: bool) -> Outcome:
    if outcome is None:
        return _unchanged(name)
    return Outcome(name, "kept") if outcome.outcome == "not-begun" and is_up else outcome


def _refuse_new_vms(names: Sequence[str]) -> None:
    if not names:
        return
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    raise ChangesPending(
        f"{len(names)} members need a new VM: {', '.join(names[:NAMED])}{more}",
        remains="all members, as they were",
        hint="`polis fleet up --recreate` deletes these VMs and makes new ones",
    )
