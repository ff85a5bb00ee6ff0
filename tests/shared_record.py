"""What holds for a record in a server's database, on any server: an operator is a directory of its own on a machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polis import config, durable, events
from polis.drivers.base import Capabilities
from polis.drivers.entries import Entries, Entry
from polis.drivers.incus.api import Transport
from polis.errors import ConfigurationError, Locked
from polis.lease import BEAT, CHAIN, HOLDER, Pace, Queue, entry_name, number_of
from polis.paths import Paths
from polis.phase import ORDER, Phase
from polis.record import Record
from polis.shared import RECORD, SharedStore, records
from polis.store import FILE, SCHEMA_VERSION, Store
from polis.workspace import UpOptions, Workspace
from tests.profiles import Clock, Cut, Killed, entries
from tests.simulated import SimulatedDriver

OLDER = Path(__file__).parent / "data/records/schema-1.json"
NAME = "shared"
SILENT = Pace(beat=3600.0)
"""Of a holder who is to be dead, so that none of its beats, which come in real time, says otherwise."""


@dataclass
class Operator:
    """Somebody who works from a machine of their own."""

    directory: Path
    transport: Transport
    pace: Pace = field(default_factory=Pace)
    told: list[str] = field(default_factory=list)

    @property
    def entries(self) -> Entries:
        return entries(self.transport)

    @property
    def store(self) -> SharedStore:
        return SharedStore(self.entries, NAME, Store(self.directory), self.pace)

    def save(self, record: Record, *, wait: float = 0.0) -> None:
        store = self.store
        with store.turn("up", wait=wait, tell=self.told.append):
            store.save(record)

    def recover(self) -> Any:
        store = self.store
        with store.turn("up", wait=0, tell=self.told.append):
            return store.recover()

    def root(self) -> Entry:
        found = self.entries.read(NAME)
        assert found is not None
        return found

    def spoil(self, **texts: str) -> None:
        """Change the workspace's entry behind everybody's back."""
        assert self.entries.replace(NAME, {**self.root().texts, **texts})

    def lease(self) -> str:
        """Return the name of the last turn."""
        root = self.root()
        return entry_name(NAME, root.texts[CHAIN], number_of(root))

    def bury(self) -> None:
        """Make the holder of the turn a process of this host that is no more."""
        root = self.root()
        for number in (number_of(root), number_of(root) + 1):
            name = entry_name(NAME, root.texts[CHAIN], number)
            found = self.entries.read(name)
            if found is not None:
                holder = json.loads(found.texts[HOLDER]) | {"pid": 2**22 + 7}
                self.entries.replace(name, {**found.texts, HOLDER: json.dumps(holder)})


@dataclass
class ClusteredDriver(SimulatedDriver):
    """Simulated machines of a server that keeps entries."""

    transport: Transport = field(kw_only=True)

    def entries(self) -> Entries:
        return entries(self.transport)


@dataclass
class Told:
    """What an operator was told."""

    heard: list[events.Event] = field(default_factory=list)

    def take(self, event: events.Event) -> None:
        self.heard.append(event)


Operators = Callable[..., Operator]


def record(phase: Phase = Phase.ABSENT) -> Record:
    made = Record(workspace=NAME, driver="incus", instance=NAME, id="1")
    for reached in ORDER[1 : phase.rank + 1]:
        made.depart(reached)
        made.arrive(reached, fingerprint="image=1", duration_s=1.5)
    return made


def phase_of(operator: Operator) -> Phase | None:
    known = operator.store.load().record
    return known.phase if known is not None else None


class SharedRecordSuite:
    """A subclass has a fixture `operators`, which returns an operator of a name on a server of its own."""

    # ---- the rules of the file, once more

    @pytest.mark.parametrize("phase", ORDER)
    def test_what_was_saved_is_loaded_everywhere(self, operators: Operators, phase: Phase) -> None:
        saved = record(phase)
        operators("ann").save(saved)
        assert operators("bob").store.load().record == saved
        assert Store(operators("ann").directory).load().record == saved  # her copy
        assert not operators("bob").directory.exists()  # who only looks writes nothing

    def test_no_record_is_no_error(self, operators: Operators) -> None:
        loaded = operators("ann").store.load()
        assert (loaded.record, loaded.notes) == (None, ())
        assert not operators("ann").store.exists()
        assert not operators("ann").entries.all()

    @pytest.mark.parametrize("damage", ["{", "[]", '"text"', '{"schema_version": 1}', "[" * 5000])
    def test_a_damaged_record_is_replaced_by_the_previous_one_and_kept(self, operators: Operators, damage: str) -> None:
        ann = operators("ann")
        ann.save(record(Phase.LAUNCHED))
        ann.save(record(Phase.CONFIGURED))
        ann.spoil(**{RECORD: damage})
        looked = operators("bob").store.load()
        assert looked.record is not None
        assert looked.record.phase is Phase.LAUNCHED
        assert ann.root().texts[RECORD] == damage  # a reader changes nothing
        recovered = operators("bob").recover()
        assert recovered.record == looked.record
        assert "damaged" in recovered.notes[0]
        assert damage in ann.root().texts.values()
        assert operators("ann").store.load().notes == ()

    def test_a_damaged_record_without_a_previous_one_is_said(self, operators: Operators) -> None:
        operators("ann").save(record())
        operators("ann").spoil(**{RECORD: "{"})
        assert "rebuilt from what is observed" in operators("bob").recover().notes[0]
        assert operators("bob").recover() == operators("bob").store.load()

    def test_a_record_of_a_newer_polis_is_refused_untouched(self, operators: Operators) -> None:
        operators("ann").save(record())
        newer = json.dumps({"schema_version": SCHEMA_VERSION + 1, "anything": True})
        operators("ann").spoil(**{RECORD: newer})
        with pytest.raises(ConfigurationError, match="newer Polis"):
            operators("bob").recover()
        assert operators("ann").root().texts[RECORD] == newer

    def test_a_record_of_an_older_polis_is_migrated_and_the_original_kept(self, operators: Operators) -> None:
        operators("ann").save(record())
        older = OLDER.read_text()
        operators("ann").spoil(**{RECORD: older})
        recovered = operators("bob").recover()
        assert recovered.record is not None
        assert recovered.record.phase is Phase.CONFIGURED
        assert "schema version 1" in recovered.notes[0]
        assert operators("ann").root().texts["schema-1"] == older
        assert operators("ann").recover().notes == ()

    def test_what_is_forgotten_leaves_nothing(self, operators: Operators) -> None:
        ann = operators("ann")
        ann.save(record(Phase.LAUNCHED))
        store = ann.store
        with store.turn("delete", wait=0, tell=ann.told.append):
            store.forget(last="lock")
        assert not ann.directory.exists()
        assert not ann.entries.all()
        operators("bob").save(record())
        assert operators("ann").store.load().record == record()

    def test_a_command_that_remembers_nothing_leaves_nothing(self, operators: Operators) -> None:
        with operators("ann").store.turn("stop", wait=0, tell=print):
            assert operators("bob").entries.all()
        assert not operators("bob").entries.all()

    # ---- one at a time

    def test_a_second_operator_is_told_who_is_at_work(self, operators: Operators) -> None:
        bob = operators("bob")
        with operators("ann").store.turn("up", wait=0, tell=print):
            with pytest.raises(Locked, match="another polis") as caught:
                bob.save(record())
            assert "`polis up` of " in caught.value.cause
            assert caught.value.exit_code == 5
            assert "--wait" in caught.value.hint
        bob.save(record())

    def test_who_waits_is_told_for_whom_and_gets_the_turn(self, operators: Operators) -> None:
        turn = operators("ann").store.turn("up", wait=0, tell=print)
        turn.__enter__()

        def end(now: float) -> None:
            if now == 3:
                turn.__exit__(None, None, None)

        clock = Clock(then=end)
        bob = operators("bob", Pace(clock=clock, sleep=clock.sleep))
        bob.save(record(), wait=100)
        assert "waiting for another polis: `polis up` of " in bob.told[0]
        assert "taken over in 30 s" in bob.told[0]
        assert clock.now == 3

    def test_who_waits_in_vain_is_told_so(self, operators: Operators) -> None:
        with operators("ann").store.turn("up", wait=0, tell=print):
            clock = Clock()
            with pytest.raises(Locked, match="within 20 s"):
                operators("bob", Pace(clock=clock, sleep=clock.sleep)).save(record(), wait=20)

    def test_a_holder_that_beats_is_never_taken_over(self, operators: Operators) -> None:
        ann = operators("ann", SILENT)  # the test beats
        with ann.store.turn("up", wait=0, tell=print):

            def beat(_now: float) -> None:
                found = ann.entries.read(ann.lease())
                assert found is not None
                ann.entries.replace(ann.lease(), {**found.texts, BEAT: str(int(found.texts[BEAT]) + 1)})

            clock = Clock(then=beat)
            with pytest.raises(Locked):
                operators("bob", Pace(look=20, clock=clock, sleep=clock.sleep)).save(record(), wait=200)

    def test_a_silent_holder_is_taken_over_and_stops_before_its_next_write(self, operators: Operators) -> None:
        ann, bob = operators("ann", SILENT), operators("bob")
        store = ann.store
        with store.turn("up", wait=0, tell=print):
            store.save(record(Phase.LAUNCHED))
            clock = Clock()
            bob.pace = Pace(clock=clock, sleep=clock.sleep)
            other = bob.store
            with other.turn("up", wait=100, tell=bob.told.append):
                assert clock.now >= 30
                assert "is dead: this command takes over" in bob.told[-1]
                loaded = other.recover().record
                assert loaded is not None
                assert loaded.phase is Phase.LAUNCHED
                other.save(record(Phase.CONFIGURED))
                with pytest.raises(Locked, match="taken over") as caught:
                    store.save(record(Phase.HEALTHY))
                assert caught.value.exit_code == 5
                with pytest.raises(Locked):
                    store.check()
                other.check()
                other.save(record(Phase.IMAGES_PULLED))
        assert phase_of(operators("ann")) is Phase.IMAGES_PULLED

    def test_a_holder_that_died_on_this_host_is_taken_over_at_once(self, operators: Operators) -> None:
        ann, bob = operators("ann", SILENT), operators("bob")
        with ann.store.turn("up", wait=0, tell=print):
            ann.bury()
            bob.save(record(Phase.LAUNCHED))
        assert "is dead" in bob.told[0]
        assert [name for name in bob.entries.all() if "." in name] == []

    def test_nobody_is_told_to_be_at_work_whose_process_died_on_this_host(self, operators: Operators) -> None:
        ann, bob = operators("ann", SILENT), operators("bob")
        begun = record()
        begun.depart(Phase.LAUNCHED)
        hers = ann.store
        with hers.turn("up", wait=0, tell=print):
            hers.save(begun)
            assert bob.store.load().working is True
            assert records(bob.entries)[NAME].working is True
            ann.bury()
            assert bob.store.load().working is False
            assert records(bob.entries)[NAME].working is False

    def test_two_holders_that_died_one_after_the_other_are_taken_over(self, operators: Operators) -> None:
        ann, bob, eve = operators("ann", SILENT), operators("bob", SILENT), operators("eve")
        ann.save(record(Phase.LAUNCHED))
        with ann.store.turn("up", wait=0, tell=print):
            ann.bury()
            first = bob.store
            with first.turn("up", wait=0, tell=print):
                bob.bury()
                eve.save(record(Phase.CONFIGURED))
                with pytest.raises(Locked):
                    first.save(record(Phase.HEALTHY))
        assert phase_of(bob) is Phase.CONFIGURED
        assert [name for name in eve.entries.all() if "." in name] == []

    def test_one_who_created_a_turn_and_never_signed_it_is_taken_over(self, operators: Operators) -> None:
        ann = operators("ann")
        ann.save(record(Phase.LAUNCHED))
        root = ann.root()
        unsigned = entry_name(NAME, root.texts[CHAIN], number_of(root) + 1)
        ann.entries.create(unsigned, {HOLDER: "{}", BEAT: "0"})
        clock = Clock()
        bob = operators("bob", Pace(clock=clock, sleep=clock.sleep))
        with pytest.raises(Locked):
            bob.save(record(Phase.CONFIGURED), wait=20)
        bob.save(record(Phase.CONFIGURED), wait=100)
        assert number_of(bob.root()) == number_of(root) + 2
        assert [name for name in bob.entries.all() if "." in name] == []

    def test_who_looked_long_ago_gets_no_turn_of_long_ago(self, operators: Operators) -> None:
        ann = operators("ann")
        ann.save(record())
        stale = ann.root()
        ann.save(record())
        ann.save(record())
        looks = [stale]
        queue = Queue(ann.entries, NAME, "up", ann.told.append)
        lease = queue.take(lambda: looks.pop() if looks else ann.root(), wait=0)
        assert lease.number == number_of(stale) + 3
        assert [name for name in ann.entries.all() if "." in name] == [lease.name]

    def test_a_save_fails_as_soon_as_somebody_has_begun_to_take_over(self, operators: Operators) -> None:
        ann = operators("ann")
        store = ann.store
        with store.turn("up", wait=0, tell=print):
            assert operators("bob").entries.remove(ann.lease())
            with pytest.raises(Locked, match="taken over"):
                store.save(record())

    def test_what_a_killed_process_left_of_the_copy_is_swept(self, operators: Operators) -> None:
        ann = operators("ann")
        ann.save(record())
        partial = ann.directory / f".{FILE}.1-ab{durable.PARTIAL}"
        partial.touch()
        ann.recover()
        assert not partial.exists()

    def test_all_who_come_at_once_get_their_turn_one_after_the_other(self, operators: Operators) -> None:
        count, rounds, inside, most = 4, 5, [0], [0]
        problems: list[BaseException] = []

        def work(number: int) -> None:
            pace = Pace(look=0.01)
            try:
                for _ in range(rounds):
                    store = operators(f"operator{number}", pace).store
                    with store.turn("up", wait=300, tell=lambda _text: None):
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                        known = store.recover().record or record()
                        known.tries = {Phase.LAUNCHED: known.tries.get(Phase.LAUNCHED, 0) + 1}
                        store.save(known)
                        inside[0] -= 1
            except BaseException as problem:
                problems.append(problem)
                raise

        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not problems
        final = operators("ann").store.load().record
        assert final is not None
        assert (most[0], final.tries) == (1, {Phase.LAUNCHED: count * rounds})

    def test_two_operators_who_act_at_once_do_nothing_twice_and_see_the_same(
        self, operators: Operators, tmp_path: Path
    ) -> None:
        names, reached, told = ("ann", "bob"), dict[str, Phase](), dict[str, Told]()
        spec = config.Spec.model_validate({"name": NAME, "timeout": 30, "retry": {"base": 0.001, "cap": 0.001}})

        def workspace(name: str) -> Workspace:
            home = operators(name).directory
            places = Paths(*(home / part for part in ("config", "data", "cache", "logs", "runtime")))
            driver = ClusteredDriver(
                path=tmp_path / "world.json",
                capabilities=Capabilities(cluster=True),
                transport=operators(name).transport,
            )
            told[name] = Told()
            return Workspace(spec, places, events.Stream([told[name]]), driver)

        def work(name: str) -> None:
            reached[name] = workspace(name).up(UpOptions(wait=600))

        threads = [threading.Thread(target=work, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert reached == dict.fromkeys(names, Phase.HEALTHY)
        driver = ClusteredDriver(path=tmp_path / "world.json", transport=operators("ann").transport)
        machine = driver.machine_of(NAME)
        assert (driver.launches, machine["needless"]) == (1, [])
        assert len(machine["pulls"]) == len(set(machine["pulls"]))
        assert machine["creations"] == len(machine["containers"])
        documents = [workspace(name).status().document for name in names]
        assert documents[0] == documents[1]
        assert documents[0]["phase"] == Phase.HEALTHY
        assert not any(workspace(name).plan(UpOptions()).is_pending for name in names)

    # ---- killed anywhere

    @pytest.mark.parametrize("after", [False, True])
    def test_whoever_was_killed_between_two_requests_leaves_what_the_next_goes_on_from(
        self, operators: Operators, *, after: bool
    ) -> None:
        ann = operators("ann")
        before, then = record(Phase.LAUNCHED), record(Phase.CONFIGURED)

        def command(who: Operator) -> None:
            store = who.store
            with store.turn("up", wait=0, tell=who.told.append):
                store.recover()
                store.save(then)

        ann.save(before)
        whole = Cut(ann.transport)
        command(Operator(ann.directory, whole))
        assert whole.passed > 6
        for at in range(whole.passed):
            ann.save(before)
            with pytest.raises(Killed):
                command(Operator(ann.directory, Cut(ann.transport, at, after)))
            left = operators("bob").store.load()
            assert left.record in (before, then)
            assert left.notes == ()
            ann.bury()
            bob = operators("bob")
            bob.save(then)
            assert ann.store.load().record == then
            assert [name for name in bob.entries.all() if "." in name] == []

    # ---- all of them

    def test_the_records_of_all_workspaces_are_read_with_one_request(self, operators: Operators) -> None:
        ann = operators("ann")
        for number in range(5):
            store = SharedStore(ann.entries, f"w{number}", Store(ann.directory / f"w{number}"))
            with store.turn("up", wait=0, tell=print):
                store.save(record(ORDER[number]))
        spoilt = ann.entries.read("w3")
        assert spoilt is not None
        ann.entries.replace("w3", {**spoilt.texts, RECORD: "{"})
        transport = Cut(ann.transport)
        with SharedStore(ann.entries, "w4", Store(ann.directory / "w4")).turn("up", wait=0, tell=print):
            found = records(entries(transport))
        assert transport.passed == 1
        assert set(found) == {f"w{number}" for number in range(5)}
        phases = [known.phase for number in (0, 1, 2) if (known := found[f"w{number}"].record) is not None]
        assert phases == list(ORDER[:3])
        assert "damaged" in found["w3"].notes[0]
        assert [found[f"w{number}"].working for number in range(5)] == [False] * 4 + [True]
