from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polis import durable
from polis.errors import ConfigurationError, HostUnsuitable, RegistryUnavailable
from polis.phase import ORDER, Phase
from polis.record import InFlight, Record, is_alive
from polis.store import BACKUP, FILE, SCHEMA_VERSION, Loaded, Store, schema

SCHEMA = Path(__file__).parents[2] / "state-schema.json"
OLDER = Path(__file__).parents[1] / "data/records/schema-1.json"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "workspace")


def record(phase: Phase = Phase.ABSENT) -> Record:
    made = Record(workspace="polis", driver="qemu", instance="polis")
    for reached in ORDER[1 : phase.rank + 1]:
        made.depart(reached)
        made.arrive(reached, fingerprint="image=1", duration_s=1.5)
    return made


def validate(path: Path) -> None:
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()), format_checker=jsonschema.FormatChecker()).validate(
        json.loads(path.read_text())
    )


def test_the_checked_in_schema_is_the_model_s() -> None:
    assert SCHEMA.read_text() == schema(), "run `make schema`"


@pytest.mark.parametrize("phase", ORDER)
def test_what_was_saved_is_loaded_and_fits_the_schema(store: Store, phase: Phase) -> None:
    saved = record(phase)
    saved.depart(Phase.HEALTHY)
    saved.fail(RegistryUnavailable("cannot pull", cause="503", hint="polis up", phase=Phase.IMAGES_PULLED, attempts=6))
    saved.depart(Phase.HEALTHY)
    store.save(saved)
    assert store.load().record == saved
    validate(store.directory / FILE)


def test_record_and_directory_are_private(store: Store) -> None:
    store.save(record())
    assert (store.directory / FILE).stat().st_mode & 0o777 == 0o600
    assert store.directory.stat().st_mode & 0o777 == 0o700


def test_no_record_is_no_error(store: Store) -> None:
    assert store.load().record is None
    assert store.load().notes == ()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\x00" * 100,
        b"[]",
        b'"text"',
        b'{"schema_version": 1}',
        b'{"phase": "hea',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_damaged_record_is_replaced_by_its_backup_and_kept_as_evidence(store: Store, damage: bytes) -> None:
    store.save(record(Phase.LAUNCHED))
    store.save(record(Phase.CONFIGURED))
    (store.directory / FILE).write_bytes(damage)
    readers = store.load()
    assert readers.record is not None
    assert readers.record.phase is Phase.LAUNCHED
    assert (store.directory / FILE).read_bytes() == damage  # a reader changes nothing
    recovered = store.recover()
    assert recovered.record == readers.record
    aside = list(store.directory.glob(f"{FILE}.corrupt-*"))
    assert [path.read_bytes() for path in aside] == [damage]
    assert "damaged" in recovered.notes[0]
    assert aside[0].name in recovered.notes[1]


def test_a_damaged_record_without_backup_is_said_and_no_error(store: Store) -> None:
    store.save(record())
    (store.directory / FILE).write_bytes(b"{")
    loaded = store.recover()
    assert loaded.record is None
    assert "rebuilt from what is observed" in loaded.notes[0]


def test_unknown_keys_are_damage(store: Store) -> None:
    store.save(record())
    content = json.loads((store.directory / FILE).read_text())
    (store.directory / FILE).write_text(json.dumps({**content, "surprise": 1}))
    assert "surprise" in store.load().notes[0]


def test_a_record_of_a_newer_polis_is_refused_untouched(store: Store) -> None:
    store.save(record())
    newer = json.dumps({"schema_version": SCHEMA_VERSION + 1, "anything": True}).encode()
    (store.directory / FILE).write_bytes(newer)
    with pytest.raises(ConfigurationError, match="newer Polis") as caught:
        store.recover()
    assert caught.value.exit_code == 78
    assert (store.directory / FILE).read_bytes() == newer


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_failing_disk_is_a_clear_error_with_the_old_record_intact(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    store.save(record(Phase.LAUNCHED))

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    if call == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    elif call == "write":
        monkeypatch.setattr(durable, "_write_through", fail)
    else:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(HostUnsuitable) as caught:
        store.save(record(Phase.CONFIGURED))
    monkeypatch.undo()
    assert caught.value.exit_code == 69
    assert os.strerror(code) in caught.value.cause
    assert caught.value.hint
    loaded = store.load().record
    assert loaded is not None
    assert loaded.phase is Phase.LAUNCHED
    assert not list(store.directory.glob(f"*{durable.PARTIAL}"))


def test_a_failed_step_keeps_the_phase_and_says_why() -> None:
    made = record(Phase.CONFIGURED)
    made.depart(Phase.IMAGES_PULLED)
    made.fail(RegistryUnavailable("cannot pull x", cause="503", phase=Phase.IMAGES_PULLED, attempts=6))
    assert made.phase is Phase.CONFIGURED
    assert made.transition is None
    assert made.last_error is not None
    assert (made.last_error.attempts, made.last_error.retryable) == (6, True)
    made.depart(Phase.IMAGES_PULLED)
    made.arrive(Phase.IMAGES_PULLED, fingerprint="", duration_s=1)
    assert made.phases[Phase.IMAGES_PULLED].attempts == 2
    assert made.last_error is None


def test_sinking_forgets_what_lies_above() -> None:
    made = record(Phase.HEALTHY)
    made.sink(Phase.CONFIGURED)
    assert set(made.phases) == {Phase.LAUNCHED, Phase.CONFIGURED}


def test_a_record_of_an_older_polis_is_migrated_and_the_original_kept(store: Store) -> None:
    store.directory.mkdir()
    shutil.copy(OLDER, store.directory / FILE)
    read = store.load().record
    assert (store.directory / FILE).read_bytes() == OLDER.read_bytes()  # a reader changes nothing
    loaded = store.recover()
    assert loaded.record == read
    assert loaded.record is not None
    assert loaded.record.phase is Phase.CONFIGURED
    assert loaded.record.phases[Phase.LAUNCHED].duration_s == 94.5
    assert loaded.record.transition is not None
    assert not is_alive(loaded.record.transition)
    assert "schema version 1" in loaded.notes[0]
    assert (store.directory / f"{FILE}.schema-1").read_bytes() == OLDER.read_bytes()
    validate(store.directory / FILE)
    assert store.recover() == Loaded(loaded.record)


@pytest.mark.parametrize("change", [{"transition": 3}, {"transition": {"to": "launched"}}, {"surprise": 1}])
def test_a_damaged_record_of_an_older_polis_is_damaged_all_the_same(store: Store, change: dict[str, Any]) -> None:
    store.directory.mkdir()
    (store.directory / FILE).write_text(json.dumps({**json.loads(OLDER.read_text()), **change}))
    loaded = store.recover()
    assert loaded.record is None
    assert "damaged" in loaded.notes[0]


def flight(pid: int, uptime_s: float | None = None) -> InFlight:
    made = record()
    made.depart(Phase.LAUNCHED)
    assert made.transition is not None
    return made.transition.model_copy(
        update={"pid": pid, "uptime_s": made.transition.uptime_s if uptime_s is None else uptime_s}
    )


@pytest.mark.processes
def test_an_action_in_flight_is_alive_only_as_long_as_its_own_process() -> None:
    assert is_alive(flight(os.getpid()))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ours = flight(child.pid)
    assert is_alive(ours)
    # The number given to another process: it was born after the action began.
    assert not is_alive(flight(child.pid, ours.uptime_s - 60))
    child.communicate(b"\n")
    assert not is_alive(ours)


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_an_action_stays_alive_when_somebody_sets_the_clock(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    ours = flight(os.getpid())
    # The kernel tells its boot time, and with it every process's birth, by the clock as it is set now.
    born, booted = psutil.Process().create_time(), psutil.boot_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _self: born + jump)
    monkeypatch.setattr(psutil, "boot_time", lambda: booted + jump)
    assert is_alive(ours)


def test_a_clock_that_jumped_back_makes_no_invalid_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = record(Phase.LAUNCHED)
    monkeypatch.setattr("polis.record.datetime", _Yesterday)
    made.depart(Phase.CONFIGURED)
    made.arrive(Phase.CONFIGURED, fingerprint="", duration_s=-3600.0)
    store.save(made)
    validate(store.directory / FILE)
    assert made.phases[Phase.CONFIGURED].entered_at < made.phases[Phase.LAUNCHED].entered_at
    assert store.load().record == made


class _Yesterday(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) - timedelta(days=1)


def test_an_action_of_another_boot_or_host_is_dead() -> None:
    ours = flight(os.getpid())
    assert not is_alive(ours.model_copy(update={"boot_id": "another"}))
    assert not is_alive(ours.model_copy(update={"host": "another"}))


def test_forget_leaves_nothing(store: Store) -> None:
    store.save(record())
    store.save(record())
    (store.directory / "lock").touch()
    assert (store.directory / BACKUP).exists()
    store.forget(last="lock")
    assert not store.directory.exists()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(Record.model_fields)), inner, max_size=9)
    ),
)


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode) | VALUES.map(json.dumps).map(str.encode))
def test_no_content_of_the_file_is_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    store = Store(tmp_path_factory.mktemp("fuzz"))
    (store.directory / FILE).write_bytes(content)
    try:
        loaded = store.recover()
    except ConfigurationError:
        return  # a "schema_version" above ours
    assert loaded.record is not None or loaded.notes
