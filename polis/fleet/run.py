"""Doing one thing with many workspaces: side by side, each by itself, and interrupted together.

Every member is opened in this process as a single command would open it, with its own record, lock, journal, log and
stream of events; threads, because nearly all of the time is spent waiting for tools and guests. What threads share in
Python (secrets that are struck out, the signal that asks to stop) is kept apart for each member.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from polis import assembly, events, log, redaction
from polis.errors import ExitCode, Interrupted, PolisError, interrupted
from polis.fleet.outcome import Outcome, for_member, worst
from polis.interruption import Interruption
from polis.store import Store
from polis.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from polis.fleet.schedule import Schedule
    from polis.fleet.spec import Member
    from polis.paths import Paths

    Deed = Callable[[Workspace], str]
    """What is done with each member; returns the word for how it ended."""

POLL = 0.5
"""Seconds after which the main thread looks for signals where waiting for a queue would keep them back (Windows)."""


class Watcher(Protocol):
    """Is told what happens, from any thread. An OSError (nobody reads any more) does not stop the work."""

    def begun(self, member: str) -> None:
        """Hear that a member's turn has come."""
        ...

    def happened(self, member: str, event: events.Event) -> None:
        """Hear an event of one member."""
        ...

    def ended(self, outcome: Outcome) -> None:
        """Hear how it ended for a member."""
        ...


@dataclass(frozen=True)
class Result:
    """How a fleet's command ended: an outcome for every member, in the fleet's order."""

    outcomes: tuple[Outcome, ...]
    interruption: Interrupted | None = None

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of the whole: that of the worst member."""
        own = [self.interruption.exit_code] if self.interruption is not None else []
        return worst([*own, *(outcome.exit_code for outcome in self.outcomes)])


@dataclass(frozen=True)
class Setting:
    """What all members of a run have in common. `command` is the one that is typed, for their logs."""

    paths: Paths
    file: Path
    command: str
    parallel: int
    watcher: Watcher
    verbose: bool = False


def run(members: Sequence[Member], schedule: Schedule, deed: Deed, setting: Setting) -> Result:
    """Do something with every member that the schedule deals out, at most `parallel` at a time.

    A member's failure is its outcome. The first signal begins no further members and interrupts those at work, each so
    that it can be resumed; a second one ends the process (`polis.signals`).
    """
    crew = _Crew(schedule, deed, setting)
    _warm_up()
    problem = crew.work(min(setting.parallel, len(members)))
    done = crew.outcomes
    return Result(tuple(done.get(member.name) or Outcome(member.name, "not-begun") for member in members), problem)


class _Crew:
    """Threads that carry out the deed, and the main thread that waits for them."""

    def __init__(self, schedule: Schedule, deed: Deed, setting: Setting) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._schedule = schedule
        self._deed = deed
        self._setting = setting
        self._interruption = Interruption()
        self._news: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
        self._at_work = 0

    def work(self, count: int) -> Interrupted | None:
        """Let so many threads work until nothing is left to begin; return why it ended early, if it did."""
        try:
            for number in range(count):
                thread = threading.Thread(target=self._work, name=f"member-{number}", daemon=True)
                thread.start()
                self._at_work += 1
            self._wait()
        except KeyboardInterrupt as interruption:
            problem = interrupted(interruption, "interrupted")
            self._schedule.halt()
            self._interruption.ask(str(interruption.args[0]) if interruption.args else "SIGINT")
            self._wait()
            return problem
        return None

    def _wait(self) -> None:
        while self._at_work:
            try:
                news = self._news.get(timeout=POLL)
            except queue.Empty:
                continue
            if isinstance(news, Outcome):
                self.outcomes[news.member] = news
            elif news is None:
                self._at_work -= 1
            else:
                raise news

    def _work(self) -> None:
        try:
            while (member := self._schedule.take()) is not None:
                outcome = self._carry_out(member)
                self._news.put(outcome)
                self._schedule.give_back(member, good=outcome.is_good)
        except BaseException as bug:  # noqa: BLE001 -- carried to the main thread, raised there
            self._news.put(bug)
        finally:
            self._news.put(None)

    def _carry_out(self, member: Member) -> Outcome:
        watcher = self._setting.watcher
        with contextlib.suppress(OSError):
            watcher.begun(member.name)
        # What is secret to one member, and that it was interrupted, is nobody else's.
        with self._interruption.heeded(), redaction.apart():
            outcome = _Turn(member, self._setting).take(self._deed)
        with contextlib.suppress(OSError):
            watcher.ended(outcome)
        return outcome


class _Turn:
    """One member's turn."""

    def __init__(self, member: Member, setting: Setting) -> None:
        self._member = member
        self._setting = setting
        self._log = log.RunLog(setting.paths.workspace(member.name), setting.command)
        self._tap = _Tap(member.name, setting.watcher)
        self._workspace: Workspace | None = None

    def take(self, deed: Deed) -> Outcome:
        begun = time.monotonic()
        try:
            self._workspace = self._open()
            done = Outcome(self._member.name, deed(self._workspace))
        except KeyboardInterrupt as interruption:
            done = self._failed(interrupted(interruption, "interrupted", hint="run the same command again"))
        except PolisError as problem:
            done = self._failed(problem)
        except Exception as bug:  # noqa: BLE001 -- one member's bug is no other's; with its traceback it is in the log
            self._log.broke(bug)
            hint = "this is a bug in polis; the member's polis.log has the traceback: report it"
            done = self._failed(PolisError(f"internal error: {type(bug).__name__}: {bug}", hint=hint))
        meter = self._workspace.meter if self._workspace is not None else None
        return replace(
            done,
            phase=self._tap.reached or done.phase,
            duration_s=time.monotonic() - begun,
            driver_calls=meter.calls if meter is not None else 0,
            driver_s=meter.seconds if meter is not None else 0.0,
        )

    def _open(self) -> Workspace:
        spec, paths = self._member.spec, self._setting.paths
        stream = events.Stream([self._log, self._tap])
        record = Store(paths.workspace(spec.name)).load().record
        driver = assembly.driver(
            spec,
            paths,
            lambda text: stream.emit(events.Disclosed(message=text)),
            recorded=record.driver if record is not None else None,
        )
        workspace = Workspace(spec, paths, stream, driver)
        workspace.meter.listener = stream.emit if self._setting.verbose else self._log.take
        return workspace

    def _failed(self, problem: PolisError) -> Outcome:
        self._log.failed(problem)
        told = for_member(events.describe(problem), self._setting.file, self._member.name)
        word = "interrupted" if isinstance(problem, Interrupted) else "failed"
        phase = problem.phase.value if problem.phase is not None else None
        return Outcome(self._member.name, word, problem.exit_code, phase, told)


class _Tap:
    """A sink that hands a member's events on with its name, and notes which phase it reached."""

    def __init__(self, member: str, watcher: Watcher) -> None:
        self._member = member
        self._watcher = watcher
        self.reached: str | None = None

    def take(self, event: events.Event) -> None:
        if isinstance(event, events.CommandEnded) and event.phase is not None:
            self.reached = event.phase.value
        with contextlib.suppress(OSError):
            self._watcher.happened(self._member, event)


def _warm_up() -> None:
    """Import, and build, what every member needs: two threads at once would each do it, or meet it half done."""
    import structlog  # noqa: F401 -- what the log imports with its first line

    from polis import machine, record
    from polis.guest import checks, report

    machine.arrows()
    checks.catalogue()
    for model in (record.PhaseEntry, record.InFlight, record.LastError, record.Record, report.GuestReport):
        model.model_rebuild()
