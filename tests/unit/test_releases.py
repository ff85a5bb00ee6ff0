"""Placing in the guest: owners and modes, the release before, and what a kill leaves (Compose itself is not run)."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polis.bundle import archive, placed
from polis.bundle.placed import PlacedFile
from polis.guest.remote import alone, engine, places, placing, releases, resolving


@dataclass
class Guest:
    """A directory that stands for the guest's, and the containers that its engine lists."""

    root: Path
    running: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    secrets: dict[str, PlacedFile] = field(default_factory=lambda: {"secrets/password": PlacedFile(b"s", 0o400)})

    def place(self, name: str, *, image: str = "r/gate:1", mounted: str = "a") -> None:
        source = self.root / f"source-{name}"
        source.mkdir(exist_ok=True)
        (source / "docker-compose.yml").write_text(json.dumps({"image": image}))
        (source / "gate.conf").write_text(mounted)
        bundle = archive.load(source)
        incoming = places.INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        bundle.write(incoming / "bundle.tar")
        (incoming / "secrets.tar").unlink(missing_ok=True)
        digest = placed.write(self.secrets, incoming / "secrets.tar")
        placing.place(
            {
                "archive": str(incoming / "bundle.tar"),
                "digest": bundle.digest,
                "secrets": {"archive": str(incoming / "secrets.tar"), "digest": digest},
                "release": name,
                "environment": {"POLIS_REGISTRY": "r"},
                "pins": {},
                "marker": {"fingerprint": name},
            },
            lambda _news: None,
        )

    def start(self) -> None:
        """Let containers run from what is placed."""
        hashes = [entry["config_hash"] for entry in places.services()]
        self.running = [{"Labels": {"com.docker.compose.config-hash": each}} for each in hashes]

    @property
    def marker(self) -> Any:
        return places.read_json(places.CONFIGURED)

    @property
    def names(self) -> list[str]:
        found = places.RELEASES.iterdir() if places.RELEASES.is_dir() else ()
        return sorted(path.name.partition("-")[0] for path in found)

    def mount(self) -> None:
        """Let a process have a directory of the current release mounted, and end whoever had one before."""
        release = releases.current()
        assert release is not None
        process = self.root / "proc" / "17"
        (process / "ns").mkdir(parents=True, exist_ok=True)
        (process / "ns" / "mnt").unlink(missing_ok=True)
        (process / "ns" / "mnt").symlink_to("mnt:[4026532000]")
        root = f"/opt/polis/releases/{release.name}/health"
        (process / "mountinfo").write_text(f"600 590 254:1 {root} /usr/local/lib/polis/health ro - ext4 /dev/vda rw\n")


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    home = tmp_path / "opt"
    home.mkdir()
    for name, path in {
        "HOME": home,
        "CURRENT": home / "current",
        "RELEASES": home / "releases",
        "CONFIGURED": home / "configured.json",
        "PREVIOUS": home / "previous.json",
        "INCOMING": tmp_path / "incoming",
    }.items():
        monkeypatch.setattr(places, name, path)
    monkeypatch.setattr(alone, "take_over", lambda: None)
    monkeypatch.setattr(os, "sync", lambda: None)
    made = Guest(tmp_path)
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(releases.mounted_releases, "__defaults__", (tmp_path / "proc",))
    monkeypatch.setattr(resolving, "_checked", composed)
    monkeypatch.setattr(engine.Engine, "listed", lambda _self: made.running)
    monkeypatch.setattr(engine.Engine, "call", lambda _self, _method, path, **_query: made.removed.append(path))
    return made


def composed(*arguments: str, content: bool = True) -> str:
    """Answer as Compose does for a bundle of one service."""
    image = json.loads((places.CURRENT / "docker-compose.yml").read_text())["image"]
    if "--hash" in arguments:
        assert content
        label = json.loads((places.CURRENT / places.CONTENT).read_text())["services"]["gate"]["labels"]["polis.content"]
        return f"gate {hashlib.sha256((image + label).encode()).hexdigest()}\n"
    service = {
        "image": image,
        "volumes": [{"type": "bind", "source": str(places.CURRENT / "gate.conf"), "target": "/gate.conf"}],
        "secrets": [{"source": "password", "target": "/run/secrets/password"}],
    }
    secrets = {"password": {"file": str(places.CURRENT / ".polis/secrets/password")}}
    return json.dumps({"services": {"gate": service}, "secrets": secrets})


def hash_of_gate() -> str:
    return str(places.services()[0]["config_hash"])


def test_keys_have_the_owner_and_mode_that_was_asked_for_and_nobody_else_gets_near(guest: Guest) -> None:
    guest.secrets = {"certs/a/key": PlacedFile(b"k", 0o400, 65532), "certs/a/pem": PlacedFile(b"p", 0o444)}
    guest.place("first")
    key, pem = (places.CURRENT / ".polis/certs/a" / name for name in ("key", "pem"))
    assert (stat.S_IMODE(key.stat().st_mode), key.stat().st_uid, key.stat().st_gid) == (0o400, 65532, 65532)
    assert (stat.S_IMODE(pem.stat().st_mode), pem.stat().st_uid) == (0o444, 0)
    assert stat.S_IMODE((places.CURRENT / ".polis").stat().st_mode) == 0o700
    assert not list(places.INCOMING.iterdir())


@pytest.mark.parametrize("change", [{"mode": 0o444}, {"owner": 65532}, {"content": b"t"}])
def test_another_owner_mode_or_content_is_not_what_was_placed(guest: Guest, change: dict[str, Any]) -> None:
    guest.place("first")
    before = places.tree_digest(places.CURRENT)
    guest.secrets = {"secrets/password": PlacedFile(**{"content": b"s", "mode": 0o400, **change})}
    guest.place("first")
    assert places.tree_digest(places.CURRENT) != before


def test_a_damaged_archive_of_keys_is_refused_and_the_old_bundle_stays(guest: Guest) -> None:
    guest.place("first")
    (places.INCOMING / "bundle.tar").write_bytes(b"")
    arguments = {
        "archive": str(places.INCOMING / "bundle.tar"),
        "digest": f"sha256:{hashlib.sha256(b'').hexdigest()}",
        "secrets": {"archive": str(places.INCOMING / "bundle.tar"), "digest": "sha256:00"},
        "release": "second",
    }
    with pytest.raises(resolving.Refused, match="keys and passwords"):
        placing.place(arguments, lambda _news: None)
    assert guest.marker["fingerprint"] == "first"


def test_a_changed_secret_or_file_changes_the_service_s_hash_and_nothing_else_does(guest: Guest) -> None:
    guest.place("first")
    first = hash_of_gate()
    guest.place("second")
    assert hash_of_gate() == first
    guest.secrets = {"secrets/password": PlacedFile(b"other", 0o400)}
    guest.place("third")
    assert hash_of_gate() != first
    changed = hash_of_gate()
    guest.place("fourth", mounted="b")
    assert hash_of_gate() != changed


def test_an_image_that_is_locked_runs_under_the_name_of_its_digest(guest: Guest) -> None:
    guest.place("first", image="r/polis-gate:v1")
    hashes = set()
    for tag in ("v1", "v2"):
        guest.place(tag, image=f"r/polis-gate:{tag}")
        resolving.resolve({f"r/polis-gate:{tag}": {"digest": "sha256:" + "d" * 64, "id": "sha256:" + "1" * 64}})
        entry = places.services()[0]
        assert entry["image"] == f"polis.locked/polis-gate:{'d' * 64}"
        assert entry["reference"] == f"r/polis-gate:{tag}"
        assert entry["id"] == "sha256:" + "1" * 64
        content = json.loads((places.CURRENT / places.CONTENT).read_text())
        hashes.add(content["services"]["gate"]["image"])
    assert len(hashes) == 1


def test_leaving_gives_back_what_services_ran_from(guest: Guest) -> None:
    guest.place("first")
    guest.start()
    ran = hash_of_gate()
    guest.place("second", mounted="b")
    assert guest.names == ["first", "second"]
    assert releases.kept() == {"config_hashes": [ran], "images": ["r/gate:1"]}
    assert placing.remove({}, lambda _news: None) == {"restored": True}
    assert (places.CURRENT / "gate.conf").read_text() == "a"
    assert guest.marker["fingerprint"] == "first"
    assert guest.marker["restored"] is True
    assert places.tree_digest(places.CURRENT) == guest.marker["tree"]
    assert guest.names == ["first"]
    assert releases.kept()["config_hashes"] == [ran]


def test_leaving_without_one_before_leaves_nothing(guest: Guest) -> None:
    guest.place("first")
    assert placing.remove({}, lambda _news: None) == {"restored": False}
    assert list(places.HOME.iterdir()) == []


def test_leaving_what_was_given_back_leaves_nothing(guest: Guest) -> None:
    guest.place("first")
    guest.start()
    guest.place("second")
    placing.remove({}, lambda _news: None)
    assert placing.remove({}, lambda _news: None) == {"restored": False}
    assert list(places.HOME.iterdir()) == []


def test_a_bundle_that_never_ran_is_not_what_one_goes_back_to(guest: Guest) -> None:
    guest.place("first")
    guest.start()
    guest.place("bad", image="r/bad:1", mounted="b")
    guest.place("worse", image="r/worse:1", mounted="c")
    assert guest.names == ["first", "worse"]
    assert guest.removed == ["/images/r/bad:1"]
    placing.remove({}, lambda _news: None)
    assert guest.marker["fingerprint"] == "first"


def test_going_back_by_placing_the_one_before_again_keeps_no_copy_of_itself(guest: Guest) -> None:
    guest.place("first")
    guest.start()
    guest.place("second", mounted="b")
    guest.place("first")
    assert guest.marker["fingerprint"] == "first"
    assert "restored" not in guest.marker
    assert placing.remove({}, lambda _news: None) == {"restored": False}


def test_killed_after_the_switch_the_next_leaving_still_gives_the_old_one_back(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.place("first")
    guest.start()
    with monkeypatch.context() as patch:
        patch.setattr(resolving, "resolve", lambda _pins: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            guest.place("second", mounted="b")
    assert not places.CONFIGURED.exists()
    placing.remove({}, lambda _news: None)
    assert guest.marker["fingerprint"] == "first"


def test_what_a_container_has_mounted_stays_however_many_releases_follow(guest: Guest) -> None:
    guest.place("first")
    guest.mount()
    mounted = releases.current()
    assert mounted is not None
    for name in ("second", "first", "third", "fourth"):
        guest.place(name)
        assert (mounted / "gate.conf").read_text() == "a"
    assert guest.names == ["first", "fourth"]
    guest.mount()  # the container was replaced
    guest.place("fifth")
    assert guest.names == ["fifth", "fourth"]
    assert not mounted.exists()


def test_placing_the_same_again_writes_nothing_into_what_is_mounted(guest: Guest) -> None:
    guest.place("first")
    guest.start()
    guest.mount()
    mounted = releases.current()
    assert mounted is not None
    before = mounted.stat().st_ino
    guest.place("second", mounted="b")
    guest.start()
    guest.place("first")
    assert mounted.stat().st_ino == before
    assert releases.current() != mounted
    placing.remove({}, lambda _news: None)
    assert guest.marker is not None
    assert guest.marker["fingerprint"] == "second"


def test_putting_a_bundle_right_does_not_forget_the_one_before(guest: Guest) -> None:
    guest.place("first")
    guest.start()
    guest.place("second", mounted="b")
    guest.start()
    guest.place("second", mounted="b")
    placing.remove({}, lambda _news: None)
    assert guest.marker is not None
    assert guest.marker["fingerprint"] == "first"
