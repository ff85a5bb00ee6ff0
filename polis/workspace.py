"""One workspace: what the commands do, without a word about how they are typed or shown."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis import assembly, events, lock, ownership
from polis.drivers.base import InstanceState
from polis.drivers.metered import Meter, MeteredDriver
from polis.drivers.sshconfig import SshAccess
from polis.errors import (
    ChangesPending,
    GuestUnreachable,
    InstanceMissing,
    NotFound,
    PolisError,
)
from polis.guest.session import Guest
from polis.journal import Journal
from polis.phase import Phase
from polis.states.observation import observe
from polis.status import Status, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from polis.agents.parts import AgentParts, UnavailableAgent
    from polis.bundle.imagelock import Lock
    from polis.config import Spec
    from polis.drivers.base import Driver
    from polis.history import Run
    from polis.machine import Machine
    from polis.offline.export import Exported
    from polis.paths import Paths
    from polis.plan import Plan
    from polis.record import Record
    from polis.states.observation import Observation
    from polis.store import Loaded

STOP_LIMIT = 180.0
"""Seconds for all services to end by themselves before the VM is switched off."""


@dataclass(frozen=True)
class UpOptions:
    """How `up` may act. `wait` is how many seconds to wait for another polis."""

    target: Phase = Phase.HEALTHY
    recreate: bool = False
    adopt: bool = False
    wait: float = 0.0


class Workspace:
    """A name, what is wanted of it, its record and its driver."""

    def __init__(self, spec: Spec, paths: Paths, stream: events.Stream, driver: Driver) -> None:
        self.spec = spec
        self._paths = paths
        self._stream = stream
        self._store = assembly.store(spec, paths, driver)
        self._driver = MeteredDriver(driver)
        self._driver.meter.guard = self._store.check
        self._current: Machine | None = None

    @property
    def meter(self) -> Meter:
        """Return how many driver calls were made so far, and how long they took."""
        return self._driver.meter

    @property
    def vm(self) -> Guest:
        """Return its VM, whether or not there is one that answers: for who only looks."""
        return Guest(self._driver, self.name)

    @property
    def driver_name(self) -> str:
        """Return the name of the driver that its VM comes from."""
        return self._driver.name

    @property
    def name(self) -> str:
        """Return the workspace's name, which is its instance's name too."""
        return self.spec.name

    # ---- changing commands

    def up(self, options: UpOptions) -> Phase:
        """Reach the target phase and return the phase that holds. Raises what stopped it."""
        warnings = assembly.check(self.spec, self._driver)
        from polis.agents import parts

        self._require_agent()
        with self._changing("up", options.wait, options.target):
            record, seen = self._recover(adopt=options.adopt)
            if seen.instance is None or options.recreate:
                for text in warnings:
                    self._warn(text)
            parts.remember(self.spec, self._paths, self._require_agent(again=True))
            machine = self._machine(record, seen)
            if options.recreate:
                machine.reset(Phase.ABSENT)
            machine.up(options.target)
            return machine.phase

    def reset(self, to: Phase | None, *, wait: float = 0.0, stepwise: bool = False) -> Phase:
        """Leave phases down to `to` (one, if None) and return the phase that holds. Raises NotFound.

        A snapshot is restored where there is one to return to, unless `to` is None, or `stepwise`.
        """
        with self._changing("reset", wait, to or Phase.ABSENT):
            machine = self._machine(*self._existing())
            goal = to if to is not None else list(Phase)[max(0, machine.phase.rank - 1)]
            machine.reset(goal, stepwise=stepwise or to is None)
            return machine.phase

    def stop(self, *, wait: float = 0.0) -> bool:
        """Stop the services, then the VM; return False if it was off already. Raises NotFound."""
        with self._changing("stop", wait, Phase.ABSENT):
            _, seen = self._existing()
            if seen.instance is None or seen.instance.state is InstanceState.STOPPED:
                return False
            with contextlib.suppress(PolisError):  # a guest that does not answer is switched off all the same
                Guest(self._driver, self.name).call("stop", {}, timeout=STOP_LIMIT)
            self._driver.stop(name=self.name)
            return True

    def delete(self, *, wait: float = 0.0, secrets: bool = False) -> bool:
        """Delete the VM and the record, with `secrets` the keys and passwords too; return False if there was none."""
        kept = assembly.vault(self.spec, self._paths)
        if not self._store.exists() and self._driver.find(name=self.name) is None:
            return secrets and any((kept.destroy(), self._withdraw()))
        with self._changing("delete", wait, Phase.ABSENT) as journal:
            self._machine(*self._recover(adopt=False)).reset(Phase.ABSENT)
            if secrets:
                kept.destroy()
                self._withdraw()
            self._stream.remove(journal)
            self._store.forget(last=lock.FILE)
        return True

    def export(self, target: Path, *, wait: float = 0.0) -> Exported:
        """Write everything that is in the VM, up to its images, to one file, for `up --offline`.

        Raises NotFound, ChangesPending if the images are not there yet, HostUnsuitable, GuestCommandFailed.
        """
        from polis.offline.export import Exporter

        with self._changing("export", wait, Phase.IMAGES_PULLED):
            _, seen = self._existing()
            phase = self.status().phase
            if phase.rank < Phase.IMAGES_PULLED.rank or seen.report is None:
                raise ChangesPending(
                    f"workspace {self.name} is {phase}; what is exported is what was pulled",
                    remains="no file was written",
                    hint="`polis up --to images-pulled`, then export again",
                )

            def tell(detail: str, done: int, total: int) -> None:
                self._stream.emit(
                    events.PhaseProgress(phase=Phase.IMAGES_PULLED, detail=detail, done=done, total=total)
                )

            guest = Guest(self._driver, self.name)
            origin = assembly.origin(self.spec, self._driver)
            return Exporter(guest, origin, seen.report, tell, self.spec.timeout).write(target)

    def loses(self, to: Phase) -> bool:
        """Return whether a reset to this phase restores a snapshot: what came after it is lost, volumes too."""
        if not self.exists():
            return False
        return self._machine(*self._identify(self._store.load(), adopt=False)).returns(to)

    def has_secrets(self) -> bool:
        """Return whether keys and passwords of this name are kept."""
        return self._paths.secrets(self.name).is_dir()

    # ---- reading commands: no lock, nothing changed

    def plan(self, options: UpOptions) -> Plan:
        """Return what `up` with these options would do. Raises what `up` would raise before it acts."""
        for text in assembly.check(self.spec, self._driver):
            self._warn(text)
        self._require_agent()
        record, seen = self._identify(self._store.load(), adopt=options.adopt)
        found = self._machine(record, seen).plan(options.target, recreate=options.recreate)
        if not found.launches:
            return found
        return dataclasses.replace(found, source=assembly.source(self.spec, self._driver))

    def history(self) -> tuple[Run, ...]:
        """Return the changing commands so far, oldest first. Raises NotFound."""
        from polis import history

        if not self._store.directory.exists():
            raise _no_workspace(self.name)
        return history.runs(Journal(self._store.directory).read())

    def status(self) -> Status:
        """Return what is remembered and what is seen."""
        loaded = self._store.load()
        record = loaded.record
        self._require_driver(record)
        seen = self._observe(record)
        problem = ownership.objection(record, seen, self.name)
        identity = record.id if record else ""
        given = (self.spec, self._paths, self._driver, identity, self._stream.emit)
        absent = seen.instance is None
        states = assembly.lowest_states(*given) if absent else assembly.states(*given, self._agent)
        agent = self._agent.document() if self._agent is not None else None
        return summarise(self.spec, loaded, states, seen, foreign=problem, agent=agent)

    def exists(self) -> bool:
        """Return whether there is a record or an instance."""
        return self._store.load().record is not None or self._driver.find(name=self.name) is not None

    def images(self) -> Lock:
        """Return what the image references of the workspace stand for, with references relative to `registry`.

        Raises NotFound, ChangesPending if not all images are pulled.
        """
        if not self.exists():
            raise _no_workspace(self.name)
        report = self._observe(self._store.load().record).report
        if report is None or not report.expected or report.missing:
            raise ChangesPending(
                "not all images are there yet, so it is not known what they are",
                hint="`polis up --to images-pulled` pulls them",
            )
        prefix = f"{self.spec.registry}/"
        return {reference.removeprefix(prefix): pin for reference, pin in report.pins().items()}

    def shell(self, argv: Sequence[str], *, service: str | None = None) -> int:
        """Connect the caller's terminal to a command in the VM, or in a service's container; return its exit code.

        Raises NotFound, GuestUnreachable, ServiceNotRunning.
        """
        self._require_on()
        if service is None:
            return self._driver.shell(name=self.name, argv=argv)
        from polis.guest import entering

        return entering.enter(Guest(self._driver, self.name), service, argv)

    def ssh_access(self) -> SshAccess:
        """Return how OpenSSH reaches the VM. Raises NotFound, GuestUnreachable, HostUnsuitable."""
        from polis.agents import parts

        self._require_on()
        forwards = {host: f"{parts.ADDRESS}:{port}" for host, port in (self._agent.ports if self._agent else ())}
        return SshAccess(f"polis-{self.name}", self._driver.ssh_options(name=self.name), forwards)

    # ---- parts

    @functools.cached_property
    def _agent(self) -> AgentParts | UnavailableAgent | None:
        """Return the agent, read once: a file with keys may be a pipe."""
        return assembly.agent(self.spec, self._paths)

    def _require_agent(self, *, again: bool = False) -> AgentParts | None:
        """Return the agent, and tell what it is given. Raises why it cannot be had, before anything is touched."""
        from polis.agents.parts import UnavailableAgent

        agent = self._agent
        if isinstance(agent, UnavailableAgent):
            raise agent.problem
        for text in agent.notes if agent is not None and not again else ():
            self._stream.emit(events.Disclosed(message=text))
        for text in agent.warnings if agent is not None and not again else ():
            self._warn(text)
        return agent

    def _require_on(self) -> None:
        if not self.exists():
            raise _no_workspace(self.name)
        instance = self._driver.find(name=self.name)
        if instance is None:
            raise InstanceMissing(f"workspace {self.name} has no VM", hint="`polis up` makes one")
        if instance.state is not InstanceState.RUNNING:
            raise GuestUnreachable(f"the VM is {instance.state}", hint="`polis up` switches it on")

    @property
    def _reached(self) -> Phase | None:
        return self._current.phase if self._current is not None else None

    @contextlib.contextmanager
    def _changing(self, command: str, wait: float, target: Phase) -> Iterator[Journal]:
        """Hold the lock and keep the journal; a command that failed before it began anything leaves nothing behind."""
        directory = self._store.directory
        with self._store.turn(command, wait=wait, tell=self._warn):
            fresh = {path.name for path in directory.iterdir()} <= {lock.FILE, lock.HOLDER}
            journal = Journal(directory)
            self._stream.add(journal)
            try:
                from polis import telling

                with telling.told(self._stream, command, target, lambda: self._reached):
                    yield journal
            except BaseException:
                with contextlib.suppress(PolisError):  # what ended the command matters more
                    if fresh and self._store.load().record is None:
                        self._store.forget(last=lock.FILE)
                raise

    def _recover(self, *, adopt: bool) -> tuple[Record, Observation]:
        """Return the record, mended, rebuilt or begun where needed, and what is seen; the instance is our own."""
        loaded = self._store.recover()
        known = loaded.record.id if loaded.record is not None else None
        record, seen = self._identify(loaded, adopt=adopt)
        if known not in (None, record.id):
            self._store.save(record)
        return record, seen

    def _identify(self, loaded: Loaded, *, adopt: bool) -> tuple[Record, Observation]:
        """Return record and observation that belong together; changes nothing. Raises ForeignInstance."""
        for note in loaded.notes:
            self._warn(note)
        self._require_driver(loaded.record)
        seen = self._observe(loaded.record)
        record = loaded.record
        if record is None:
            from polis.record import Record

            record = Record(workspace=self.name, driver=self._driver.name, instance=self.name)
            owner = ownership.owner(seen)
            if owner is not None and (adopt or ownership.is_named(seen, self.name)):
                record.id = owner
                self._warn("the record was lost; it is rebuilt from what is observed")
        elif adopt and (owner := ownership.owner(seen)) not in (None, record.id):
            record.id = str(owner)
        ownership.check(record, seen, self.name)
        return record, seen

    def _require_driver(self, record: Record | None) -> None:
        """Refuse to look for a VM where it is not: it would be left behind, and a second one made."""
        if record is None or record.driver == self._driver.name or record.created_from is None:
            return
        raise ChangesPending(
            f"the VM of workspace {self.name} was made with the driver {record.driver}, not {self._driver.name}",
            remains="the VM and all that is in it",
            hint=f"`polis --driver {record.driver} delete`, then `polis up` makes a new one",
        )

    def _existing(self) -> tuple[Record, Observation]:
        if not self.exists():
            raise _no_workspace(self.name)
        return self._recover(adopt=False)

    def _machine(self, record: Record, seen: Observation) -> Machine:
        from polis.machine import Machine

        record.driver = self._driver.name
        self._current = Machine(
            states=assembly.states(self.spec, self._paths, self._driver, record.id, self._stream.emit, self._agent),
            store=self._store,
            record=record,
            observe=lambda: self._observe(record),
            seen=seen,
            emit=self._stream.emit,
        )
        return self._current

    def _observe(self, record: Record | None) -> Observation:
        seen = observe(self.vm, record.created_from if record is not None else None)
        if ownership.objection(record, seen, self.name) is None:
            for taken in assembly.inherit(self.spec, self._paths, self.vm, seen):
                self.__dict__.pop("_agent", None)
                self._stream.emit(events.Disclosed(message=f"another operator's, from the VM: {taken}"))
        return seen

    def _withdraw(self) -> bool:
        """Remove the template that nobody uses any more; return whether there was one. No deletion fails for that."""
        try:
            return assembly.withdraw(self.spec, self._driver) > 0
        except PolisError as error:
            self._warn(f"the template, if there is one, stays: {error}")
            return False

    def _warn(self, text: str) -> None:
        self._stream.emit(events.Warned(message=text))


def _no_workspace(name: str) -> NotFound:
    return NotFound(f"there is no workspace {name}", hint="`polis list` shows all, `polis up` makes one")
