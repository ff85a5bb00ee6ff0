"""The finite state machine of a workspace: up, reset, assess (DESIGN section 3).

The machine knows phases, a record and a way to look at the world; it knows nothing of Docker, drivers or bundles. Each
move of the model happens together with the disk: a transition's `before` callbacks write the record in flight, act,
observe, and save the record at the destination; the model's own state changes last. An exception anywhere, or a kill,
therefore leaves both where they were.
"""

from __future__ import annotations

import logging
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from polis import plan
from polis.assessment import Assessment, assess
from polis.errors import ChangesPending, PolisError, ProvisioningFailed, interrupted
from polis.events import (
    DriftFound,
    Event,
    PhaseCompleted,
    PhaseFailed,
    PhaseLeft,
    PhaseSkipped,
    PhaseStarted,
    Warned,
)
from polis.phase import ORDER, Phase
from polis.plan import Action
from polis.states.base import Returning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polis.plan import Plan
    from polis.record import Record
    from polis.states.base import State
    from polis.states.observation import Observation
    from polis.store import RecordStore

    _Callbacks = list[str | Callable[..., bool | None]]


class Machine:
    """Moves one workspace between phases. Whoever calls a changing method holds the workspace's lock.

    `seen` is what was just observed, so that a no-op looks only once.
    """

    def __init__(
        self,
        *,
        states: Sequence[State],
        store: RecordStore,
        record: Record,
        observe: Callable[[], Observation],
        seen: Observation,
        emit: Callable[[Event], None],
    ) -> None:
        self._states = {state.phase: state for state in states}
        self._store = store
        self._record = record
        self._observe = observe
        self._emit = emit
        self._seen = assess(states, seen)
        self._wired: _Model | None = None

    @property
    def phase(self) -> Phase:
        """Return the phase that model and record agree on."""
        return Phase(self._wired.state) if self._wired is not None else self._record.phase

    def up(self, target: Phase) -> None:
        """Reach the target from the highest phase that really holds; what holds is not done again.

        Raises ChangesPending if only a new instance could satisfy today's inputs, and whatever stopped an action,
        after it was recorded.
        """
        self._reconcile(self.plan(target))
        while step := self.plan(target).next:
            if step.action is Action.RECOGNISE:
                self._fire("recognise")
            else:
                self._attempt("advance", step.phase)
        self._settle()

    def plan(self, target: Phase, *, recreate: bool = False) -> Plan:
        """Return what `up` would do now, from what was seen last; with `recreate`, what `up --recreate` would."""
        if recreate and self._seen.observation.instance is not None:
            return plan.anew(self._seen, recorded=self.phase, target=target)
        return plan.make(self._seen, recorded=self.phase, target=target)

    def reset(self, to: Phase, *, stepwise: bool = False) -> None:
        """Leave phase after phase from the top, down to `to`. An interrupted reset is resumed by the next.

        Where a state can return to how it was when it first held, it does that instead, unless `stepwise`.

        Raises whatever stopped an action, after it was recorded.
        """
        seen = self._seen
        if to is Phase.ABSENT:
            self._attempt("destroy", to)
            return
        if not stepwise and self.returns(to):
            self._attempt("restore", to)
            return
        if seen.observation.report is None and seen.observation.instance is not None:
            self._attempt("wake", Phase.LAUNCHED)  # nothing can be removed from a guest that is off
        while self.phase.rank > to.rank:
            self._attempt("retreat", ORDER[self.phase.rank - 1])
        if self._traces_above(to):
            self._attempt("tidy", to)

    def returns(self, to: Phase) -> bool:
        """Return whether `reset` makes everything what it was when `to` first held: what came after it is lost."""
        state, seen = self._states[to], self._seen.observation
        if not isinstance(state, Returning) or not state.can_return(seen):
            return False
        # A guest that is off or half restored does not tell what is in it.
        return self.phase.rank > to.rank or seen.report is None or bool(self._traces_above(to))

    # ---- the model

    def _model(self) -> _Model:
        """Return the model, made when something moves for the first time: a no-op needs no state machine."""
        if self._wired is None:
            self._wired = self._wire(self._record.phase)
        return self._wired

    def _wire(self, initial: Phase) -> _Model:
        model = _Model()
        _wired(
            model,
            initial,
            climb=[self._write_departure, self._enter, self._confirm_entry, self._save_arrival],
            recognise=[self._save_recognition],
            wake=[self._write_departure, self._enter, self._look_again, self._save_awakening],
            leave=[self._write_departure, self._leave, self._confirm_leaving, self._save_descent],
            fall=[self._save_descent],
            back=[self._write_departure, self._return, self._confirm_entry, self._save_descent],
        )
        return model

    def _fire(self, trigger: str, **arguments: Phase) -> None:
        self._model().trigger(trigger, **arguments)

    def _attempt(self, trigger: str, towards: Phase) -> None:
        """Fire a trigger that acts; if it fails, record and tell why."""
        self._begun = time.monotonic()
        try:
            self._fire(trigger, towards=towards)
        except KeyboardInterrupt as interruption:
            error = interrupted(
                interruption, f"interrupted on the way to {towards}", hint="`polis up` goes on from here"
            )
            self._note_failure(error, towards)
            raise error from interruption
        except PolisError as error:
            self._note_failure(error, towards)
            raise

    # ---- what happens before the model moves

    def _write_departure(self, event: Any) -> None:
        to = event.kwargs["towards"]
        if to is Phase.LAUNCHED and self._seen.observation.instance is None:
            self._record.created_from = self._states[to].fingerprint(self._seen.observation)
        self._record.depart(to)
        self._store.save(self._record)

    def _enter(self, event: Any) -> None:
        to = event.kwargs["towards"]
        self._emit(PhaseStarted(phase=to, attempt=self._record.tries[to]))
        self._states[to].enter(self._seen.observation)

    def _confirm_entry(self, event: Any) -> None:
        to = Phase(event.transition.dest)
        seen = self._look()
        if seen.held.rank < to.rank:
            remedy = seen.verdict.remedy if seen.verdict is not None else ""
            raise ProvisioningFailed(
                f"{to} was done, but its evidence is missing",
                cause=seen.obstacle,
                hint=remedy or "run `polis up` again; if it stays so, look at the guest with `polis shell`",
            )

    def _save_arrival(self, event: Any) -> None:
        to = Phase(event.transition.dest)
        duration = time.monotonic() - self._begun
        self._record.arrive(to, fingerprint=self._today(to), duration_s=duration)
        self._store.save(self._record)
        self._emit(PhaseCompleted(phase=to, duration_s=round(duration, 3)))

    def _save_recognition(self, event: Any) -> None:
        to = Phase(event.transition.dest)
        self._record.arrive(to, fingerprint=self._today(to), duration_s=0.0)
        self._store.save(self._record)
        self._emit(PhaseSkipped(phase=to))

    def _leave(self, event: Any) -> None:
        to = event.kwargs["towards"]
        observation = self._seen.observation
        if to is Phase.ABSENT:  # all else goes with the instance, and so does what an interrupted deletion left
            self._states[Phase.LAUNCHED].leave(observation)
            return
        for phase in reversed(to.above):
            if self._states[phase].has_traces(observation):
                self._states[phase].leave(observation)

    def _return(self, event: Any) -> None:
        state = self._states[event.kwargs["towards"]]
        if isinstance(state, Returning):
            state.restore(self._seen.observation)

    def _confirm_leaving(self, event: Any) -> None:
        to = event.kwargs["towards"]
        self._look()
        left = self._traces_above(to)
        if left:
            raise ProvisioningFailed(f"something of {', '.join(left)} is still there", hint="run `polis reset` again")

    def _look_again(self, _event: Any) -> None:
        self._look()

    def _save_awakening(self, _event: Any) -> None:
        self._record.settle()
        self._store.save(self._record)

    def _save_descent(self, event: Any) -> None:
        source, to = Phase(event.transition.source), Phase(event.transition.dest)
        self._record.sink(to)
        if self._seen.observation.instance is None:
            self._record.created_from = None
        self._store.save(self._record)
        if event.event.name in ("retreat", "destroy", "restore"):
            self._emit(PhaseLeft(phase=source, duration_s=round(time.monotonic() - self._begun, 3)))

    # ---- looking

    def _look(self) -> Assessment:
        self._seen = assess(tuple(self._states.values()), self._observe())
        return self._seen

    def _today(self, phase: Phase) -> str:
        return self._states[phase].fingerprint(self._seen.observation)

    def _traces_above(self, phase: Phase) -> list[str]:
        observation = self._seen.observation
        return [str(above) for above in phase.above if self._states[above].has_traces(observation)]

    def _reconcile(self, found: Plan) -> None:
        """Refuse what needs a new instance; say and record where the record claims more than can be observed."""
        if found.recreate:
            raise ChangesPending(
                self._seen.obstacle,
                remains="the VM and all that is in it",
                hint="`polis up --recreate` deletes this VM and makes a new one",
                phase=Phase.LAUNCHED,
            )
        if found.drift:
            self._emit(DriftFound(phase=found.held.above[0], reason=found.drift))
            self._fire(f"fall_to_{found.held}")
        for phase in ORDER[1 : self.phase.rank + 1]:
            self._emit(PhaseSkipped(phase=phase))
        for change in found.deferred:
            self._emit(
                Warned(message=f"{change} takes effect when the VM is next switched on: `polis stop`, `polis up`")
            )

    def _settle(self) -> None:
        """Forget an interruption or failure that no longer matters; a no-op writes nothing."""
        if self._record.transition is not None or self._record.last_error is not None:
            self._record.settle()
            self._store.save(self._record)

    def _note_failure(self, error: PolisError, towards: Phase) -> None:
        error.phase = error.phase or towards
        error.remains = error.remains or _remains(self.phase, self._seen.observation)
        self._record.fail(error)
        seconds = round(time.monotonic() - self._begun, 3)
        self._emit(PhaseFailed(phase=error.phase, kind=error.kind, message=str(error), duration_s=seconds))
        try:
            self._store.save(self._record)
        except PolisError as unsaved:  # what stopped the action matters more than that it could not be written down
            self._emit(Warned(message=f"the failure could not be recorded: {unsaved}"))


class _Model:
    """What the library attaches its state and triggers to."""

    state: str
    trigger: Callable[..., bool]


def arrows() -> tuple[tuple[str, Phase, Phase], ...]:
    """Return every transition of the machine as its trigger, source and destination, in the order of wiring."""
    events = _wired(_Model(), Phase.ABSENT).events.values()
    return tuple(
        (event.name, Phase(each.source), Phase(each.dest))
        for event in events
        for transitions in event.transitions.values()
        for each in transitions
    )


def _wired(model: _Model, initial: Phase, **before: _Callbacks) -> Any:
    """Return the library's machine around a model, with what is to be done before each kind of move."""
    import transitions

    logging.getLogger("transitions").setLevel(logging.WARNING)  # one INFO line for each callback
    machine = transitions.Machine(
        model,
        states=[phase.value for phase in ORDER],
        initial=initial.value,
        auto_transitions=False,
        send_event=True,
    )
    for lower, upper in pairwise(ORDER):
        machine.add_transition("advance", lower.value, upper.value, before=before.get("climb"))
        machine.add_transition("recognise", lower.value, upper.value, before=before.get("recognise"))
        machine.add_transition("retreat", upper.value, lower.value, before=before.get("leave"))
        for above in upper, *upper.above:
            machine.add_transition(f"fall_to_{lower}", above.value, lower.value, before=before.get("fall"))
    for source in (Phase.LAUNCHED, *Phase.LAUNCHED.above):
        machine.add_transition("restore", source.value, Phase.LAUNCHED.value, before=before.get("back"))
    for phase in ORDER:
        machine.add_transition("destroy", phase.value, Phase.ABSENT.value, before=before.get("leave"))
        machine.add_transition("tidy", phase.value, phase.value, before=before.get("leave"))
        machine.add_transition("wake", phase.value, phase.value, before=before.get("wake"))
    return machine


def _remains(phase: Phase, observation: Observation) -> str:
    if observation.instance is None:
        return "there was no VM when this command began" if phase is Phase.ABSENT else ""
    return f"the VM is {observation.instance.state.value}; phase {phase} holds"
