"""The instance's directory and record: whole or not there."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path

import pytest

from polis.drivers.base import Forward
from polis.drivers.qemu.instance import CorruptRecord, Home, Instances, Record, place
from polis.errors import ConfigurationError, HostUnsuitable

RECORD = Record(
    name="ws",
    owner="o-1",
    uuid="6d3c1c0e-0000-4000-8000-000000000001",
    image="a" * 64,
    user="ubuntu",
    direct_kernel=True,
    direct_initrd=False,
    cmdline="console=ttyS0",
    cpus=2,
    memory=1 << 30,
    disk=1 << 33,
    forwards=(Forward(8080, 80),),
    ssh_port=40022,
)


@pytest.fixture
def instances(tmp_path: Path) -> Instances:
    return Instances(tmp_path / "qemu", Path("/tmp/polis-test"))  # noqa: S108 -- only named, never made


@pytest.mark.parametrize("name", ["a", "polis", "my-ws-2", "A1", "x" * 63])
def test_names(instances: Instances, name: str) -> None:
    assert instances.at(name).path.name == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "1a", "a_b", "a.b", "../x", "a/b", "ä", "a\n", "a b", ".trash.a", "x" * 64]
)
def test_names_that_are_none(instances: Instances, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name"):
        instances.at(name)


def test_a_record_reads_back() -> None:
    assert Record.from_json(RECORD.to_json()) == RECORD


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"cpus": "2"},
        {"created": 1},
        {"cpus": True},
        {"owner": None},
        {"forwards": [{"host": "x", "guest": 1}]},
        {"forwards": 3},
        {"unknown": 1},
    ],
)
def test_a_changed_record_is_corrupt(change: dict[str, object]) -> None:
    raw = {**json.loads(RECORD.to_json()), **change}
    with pytest.raises(CorruptRecord):
        Record.from_json(json.dumps(raw).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", RECORD.to_json()[:-20]])
def test_a_torn_record_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptRecord):
        Record.from_json(data)


def test_a_missing_field_is_corrupt() -> None:
    raw = json.loads(RECORD.to_json())
    del raw["uuid"]
    with pytest.raises(CorruptRecord):
        Record.from_json(json.dumps(raw).encode())


def test_reserving_makes_directory_and_record_at_once(instances: Instances) -> None:
    home = instances.reserve(RECORD)
    assert home.load() == RECORD
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert home.record.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in instances.root.iterdir()] == ["ws"]


def test_nothing_there(instances: Instances) -> None:
    assert instances.at("ws").load() is None
    instances.at("ws").path.mkdir(parents=True)
    assert instances.at("ws").load() is None  # an empty directory is nobody's
    instances.reserve(RECORD)
    assert instances.at("ws").load() == RECORD


def test_a_directory_without_a_record_is_not_ours_to_judge(instances: Instances) -> None:
    home = instances.at("ws")
    home.path.mkdir(parents=True)
    (home.path / "thesis.tex").touch()
    with pytest.raises(CorruptRecord, match="no record"):
        home.load()


def test_discarding(instances: Instances) -> None:
    home = instances.reserve(RECORD)
    home.disk.touch()
    other = instances.reserve(dataclasses.replace(RECORD, name="ws-2"))
    instances.discard(home)
    instances.discard(home)
    assert [path.name for path in instances.root.iterdir()] == ["ws-2"]
    assert other.load() is not None


def test_a_kill_between_the_renames_leaves_only_what_is_swept(instances: Instances) -> None:
    instances.reserve(RECORD)
    for name in (".new.ws.1234", ".trash.ws.1234", ".trash.other.1", ".new.ws-2.1234"):
        (instances.root / name).mkdir()
        (instances.root / name / "disk.qcow2").touch()
    instances.sweep("ws")
    # Another instance may be coming in at this moment.
    assert sorted(path.name for path in instances.root.iterdir()) == [".new.ws-2.1234", "ws"]


def test_a_symbolic_link_is_refused(instances: Instances, tmp_path: Path) -> None:
    instances.root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (instances.root / "ws").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostUnsuitable, match="symbolic link"):
        instances.at("ws")


def test_sockets_are_told_apart_by_the_whole_path(tmp_path: Path) -> None:
    runtime = Path("/run/p")
    paths = {Home(tmp_path / part / "ws", runtime).control for part in ("a", "b")}
    paths |= {Home(tmp_path / "a" / "ws-2", runtime).control, Home(tmp_path / "a" / "ws", runtime).qmp}
    assert len(paths) == 4
    assert all(path.parent == runtime for path in paths)


def test_the_runtime_directory_is_private_and_short_enough(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as short:
        Home(tmp_path / "ws", Path(short) / "r").prepare_runtime()
        assert (Path(short) / "r").stat().st_mode & 0o777 == 0o700
    with pytest.raises(HostUnsuitable, match="too long for a socket"):
        Home(tmp_path / "ws", tmp_path / ("r" * 90)).prepare_runtime()


def test_the_runtime_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    with pytest.raises(HostUnsuitable, match="belongs to another user"):
        Home(tmp_path / "ws", tmp_path / "r").prepare_runtime()


def test_a_cached_file_is_linked_hard_or_else_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "cached", tmp_path / "base.img"
    source.write_text("x")
    place(source, target)
    assert target.samefile(source)
    assert not target.is_symlink()

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    place(source, target)
    assert target.is_symlink()
    assert target.read_text() == "x"
