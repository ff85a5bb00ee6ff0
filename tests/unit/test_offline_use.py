"""What is made of an offline file: a medium with packages, images in the guest, and a file from a guest."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pycdlib
import pytest

from polis import assembly, config, events, paths
from polis.bundle import archive, imagelock
from polis.cloudinit.overrides import MEDIUM_LABEL
from polis.contents import SpecifiedContents
from polis.drivers.base import Capabilities
from polis.errors import (
    ChangesPending,
    ConfigurationError,
    GuestCommandFailed,
    HostUnsuitable,
    ImageRefused,
    IntegrityError,
)
from polis.guest.report import GuestReport, Service
from polis.offline import export, images, medium, reading
from polis.offline.images import OfflineImages
from polis.offline.manifest import Manifest, Package, SavedImage
from polis.offline.reading import OfflineFile
from polis.offline.writing import Writer
from polis.phase import Phase
from polis.workspace import UpOptions, Workspace
from tests.simulated import SimulatedDriver

ID = "sha256:" + "1" * 64
DIGEST = "sha256:" + "d" * 64
BASE = "b" * 64
CONTROL = "Package: docker-ce\nVersion: 5:27.5~x\nArchitecture: amd64\nDescription: short\n long\n"
DEB = "packages/docker-ce_5.27.5~x_amd64.deb"
SAVED = f"images/{ID[7:]}.tar"


def offline_file(
    path: Path, *, references: Sequence[str] = ("r.example/team/a:v1",), digest: str = DIGEST, base: str = BASE
) -> Path:
    with Writer(path) as writer:
        writer.add("bundle.tar", archive.load().content)
        writer.add("sysbox.deb", b"sysbox")
        writer.add(DEB, b"docker")
        writer.add(SAVED, b"layers")
        writer.add("images.lock", b"{}")
        writer.finish(
            Manifest(
                created="now",
                polis="0",
                version="v1",
                base=base,
                architecture="amd64",
                installed={},
                packages=(Package(member=DEB, control=CONTROL),),
                images=tuple(SavedImage(reference=each, digest=digest, id=ID, member=SAVED) for each in references),
                members=writer.members,
            )
        )
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return offline_file(tmp_path / "offline.tar")


@pytest.fixture
def opened(file: Path) -> OfflineFile:
    return reading.open_file(file)


@dataclass
class Guest:
    """A guest that keeps what it is given, and answers as it is told."""

    answers: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    name: str = "polis"

    @property
    def driver(self) -> Guest:
        return self

    def call(self, command: str, arguments: dict[str, Any], **_: Any) -> Any:
        self.calls.append((command, arguments))
        return self.answers[command]

    def push(self, source: Path, file_name: str) -> str:
        self.files[file_name] = source.read_bytes()
        return f"/incoming/{file_name}"

    def pull(self, *, name: str, source: str, target: Path) -> None:
        target.write_bytes(self.files[source])


def service(**changes: str) -> Service:
    values: dict[str, Any] = {"name": "a", "image": "r.example/team/a:v1", "reference": "r.example/team/a:v1"}
    return Service.model_validate({**values, "one_shot": False, "config_hash": "x", **changes})


# ---- the medium


def read_iso(path: Path) -> tuple[str, dict[str, bytes]]:
    image = pycdlib.PyCdlib()
    image.open(str(path))
    files = {}
    for child in image.list_children(rr_path="/"):
        if child is not None and child.is_file():
            out = io.BytesIO()
            name = child.rock_ridge.name().decode()
            image.get_file_from_iso_fp(out, rr_path=f"/{name}")
            files[name] = out.getvalue()
    label = image.pvd.volume_identifier.decode().strip()
    image.close()
    return label, files


def test_the_medium_is_a_repository_for_apt(opened: OfflineFile, tmp_path: Path) -> None:
    path = medium.build(opened, tmp_path / "media")
    label, files = read_iso(path)
    assert label == MEDIUM_LABEL
    deb = "docker-ce_5.27.5~x_amd64.deb"
    assert {name: data for name, data in files.items() if name.endswith(".deb")} == {
        deb: b"docker",
        "sysbox.deb": b"sysbox",
    }
    sha256 = hashlib.sha256(b"docker").hexdigest()
    assert files["Packages"].decode() == f"{CONTROL}Filename: ./{deb}\nSize: 6\nSHA256: {sha256}\n"
    assert hashlib.sha256(files["Packages"]).hexdigest() in files["Release"].decode()
    assert list((tmp_path / "media").iterdir()) == [path]
    assert medium.build(opened, tmp_path / "media") == path


def test_a_package_that_is_not_as_stated_makes_no_medium(opened: OfflineFile, tmp_path: Path) -> None:
    data = bytearray(opened.path.read_bytes())
    data[opened.offsets[DEB]] ^= 1
    opened.path.write_bytes(data)
    with pytest.raises(IntegrityError):
        medium.build(opened, tmp_path / "media")
    assert list((tmp_path / "media").iterdir()) == []


# ---- images


def fetch(opened: OfflineFile, work: Path, wanted: Service, answer: dict[str, Any]) -> Guest:
    guest = Guest({"load-image": answer})
    source = OfflineImages(opened, work / "work")
    source.fetch(guest, wanted, limit=1, on_progress=lambda _: None)  # type: ignore[arg-type]
    return guest


def test_an_image_is_given_to_the_guest_under_both_its_names(opened: OfflineFile, tmp_path: Path) -> None:
    locked = f"polis.locked/a:{'d' * 64}"
    guest = fetch(opened, tmp_path, service(image=locked, digest=DIGEST, id=ID), {"id": ID})
    assert list(guest.files.values()) == [b"layers"]
    ((command, arguments),) = guest.calls
    assert command == "load-image"
    assert arguments["id"] == ID
    assert arguments["names"] == sorted([locked, "r.example/team/a:v1"])
    assert not (tmp_path / "work").exists()


def test_another_registry_is_no_obstacle_but_another_version_is(opened: OfflineFile, tmp_path: Path) -> None:
    fetch(opened, tmp_path, service(reference="mirror.example/a:v1", image="mirror.example/a:v1"), {"id": ID})
    with pytest.raises(ImageRefused, match=r"a:v2 is not in"):
        fetch(opened, tmp_path, service(reference="r.example/team/a:v2"), {"id": ID})


def test_of_two_images_of_one_name_only_the_full_reference_tells(tmp_path: Path) -> None:
    path = offline_file(tmp_path / "two.tar", references=("r.example/team/a:v1", "r.example/others/a:v1"))
    found = reading.open_file(path)
    assert images.find(found, "r.example/others/a:v1") is not None
    assert images.find(found, "mirror.example/a:v1") is None


@pytest.mark.parametrize("changes", [{"digest": "sha256:" + "e" * 64}, {"id": "sha256:" + "2" * 64}])
def test_an_image_that_is_not_the_locked_one_is_not_even_sent(
    opened: OfflineFile, tmp_path: Path, changes: dict[str, str]
) -> None:
    with pytest.raises(IntegrityError, match="is not the image it should be"):
        fetch(opened, tmp_path, service(**changes), {"id": ID})


def test_what_the_engine_says_of_an_image_counts(opened: OfflineFile, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="is not the image it should be"):
        fetch(opened, tmp_path, service(), {"id": "sha256:" + "2" * 64})
    with pytest.raises(GuestCommandFailed) as caught:
        fetch(opened, tmp_path, service(), {"error": "unexpected EOF"})
    assert caught.value.cause == "unexpected EOF"


def test_a_lock_without_ids_gets_them_where_the_digest_is_the_same(opened: OfflineFile) -> None:
    lock = {"r.example/team/a:v1": {"digest": DIGEST}, "r.example/team/b:v1": {"digest": DIGEST}}
    completed = images.completed(lock, opened)
    assert completed["r.example/team/a:v1"] == {"digest": DIGEST, "id": ID}
    assert completed["r.example/team/b:v1"] == {"digest": DIGEST}
    other = {"r.example/team/a:v1": {"digest": "sha256:" + "e" * 64}}
    assert images.completed(other, opened) == other


# ---- the workspace


def spec(file: Path, **values: Any) -> config.Spec:
    image = {"location": "/image", "sha256": BASE}
    return config.Spec.model_validate({"offline": file, "image": image, **values})


class Driver:
    """As much of a driver as is asked before anything is touched."""

    name = "some"

    def __init__(self, *, medium: bool) -> None:
        self.capabilities = Capabilities(medium=medium)


def check(wanted: config.Spec, *, medium: bool = True) -> list[str]:
    return assembly.check(wanted, Driver(medium=medium))  # type: ignore[arg-type]


def test_a_good_file_is_accepted_and_its_bundle_used(file: Path, tmp_path: Path) -> None:
    assert check(spec(file)) == []
    assert SpecifiedContents(spec(file)).bundle.digest == archive.load().digest
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "docker-compose.yml").write_text("services: {}\n")
    own = SpecifiedContents(spec(file, bundle=tmp_path / "own")).bundle
    assert own.digest == archive.load(tmp_path / "own").digest


def test_a_driver_without_media_is_told_before_anything(file: Path) -> None:
    with pytest.raises(HostUnsuitable, match="the some driver cannot") as caught:
        check(spec(file), medium=False)
    assert caught.value.exit_code == 69


def test_a_file_for_another_base_image_is_refused(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="another base image"):
        check(spec(file, image={"location": "/image", "sha256": "c" * 64}))


def test_a_tampered_file_is_refused_before_anything(file: Path, opened: OfflineFile) -> None:
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert check(spec(file, offline={"file": file, "sha256": sha256})) == []
    data = bytearray(file.read_bytes())
    data[opened.offsets[SAVED]] ^= 1
    file.write_bytes(data)
    with pytest.raises(IntegrityError):
        check(spec(file))
    with pytest.raises(IntegrityError, match=r"offline\.tar is not"):
        check(spec(file, offline={"file": file, "sha256": sha256}))


def test_where_packages_come_from_makes_no_other_vm(file: Path, tmp_path: Path) -> None:
    online = spec(file, offline=None)
    birth = assembly.SpecifiedBirth(spec(file), "qemu", "id", tmp_path / "media")
    assert birth.fingerprint == assembly.SpecifiedBirth(online, "qemu", "id", tmp_path).fingerprint
    request = birth.request()
    assert request.medium is not None
    assert read_iso(request.medium)[1]["sysbox.deb"] == b"sysbox"
    for words in (
        f"{MEDIUM_LABEL} /run/polis-medium",
        "copy:/run/polis-medium ./",
        "file:///run/polis-medium/sysbox.deb",
    ):
        assert words in request.user_data
    assert assembly.SpecifiedBirth(online, "qemu", "id", tmp_path).request().medium is None


@pytest.mark.parametrize("text", ["x/offline.tar", "{file: x/offline.tar}"])
def test_the_configuration_names_it_from_where_it_stands(tmp_path: Path, text: str) -> None:
    path = tmp_path / "there" / "polis.yaml"
    path.parent.mkdir()
    path.write_text(f"offline: {text}\n")
    found = config.load({}, file=path, user_directory=tmp_path, environ={}).offline
    assert found is not None
    assert found.file == tmp_path / "there" / "x" / "offline.tar"
    found = config.load({}, file=None, user_directory=tmp_path, environ={"POLIS_OFFLINE": text}).offline
    assert found is not None
    assert found.file == Path.cwd() / "x" / "offline.tar"


def open_workspace(driver: SimulatedDriver, **settings: Any) -> Workspace:
    return Workspace(config.Spec.model_validate(settings), paths.find(), events.Stream([]), driver)


def test_a_workspace_comes_up_from_the_file_and_pulls_nothing(tmp_path: Path) -> None:
    driver = SimulatedDriver(path=tmp_path / "world.json", capabilities=Capabilities(medium=True))
    open_workspace(driver).up(UpOptions(target=Phase.CONFIGURED))
    machine = driver.world.machine("polis")
    assert machine is not None
    references = sorted({service["reference"] for service in machine["bundle"]["services"]})
    base = config.Spec().image.sha256
    file = offline_file(tmp_path / "offline.tar", references=references, base=base)
    assert open_workspace(driver, offline=file).up(UpOptions()) is Phase.HEALTHY
    machine = driver.world.machine("polis")
    assert machine is not None
    assert machine["pulls"] == []
    assert machine["images"] == dict.fromkeys(references, ID)
    assert machine["pushed"] == {}
    assert machine["needless"] == []
    assert open_workspace(driver).status().phase is Phase.HEALTHY, "and needs the file no more"


def test_an_image_that_the_file_has_not_ends_it_at_once_with_what_is_there(tmp_path: Path) -> None:
    driver = SimulatedDriver(path=tmp_path / "world.json", capabilities=Capabilities(medium=True))
    file = offline_file(tmp_path / "offline.tar", base=config.Spec().image.sha256)
    with pytest.raises(ImageRefused, match="is not in") as caught:
        open_workspace(driver, offline=file).up(UpOptions())
    assert caught.value.remains.startswith("the VM is up and configured, 0 of ")
    assert caught.value.phase is Phase.IMAGES_PULLED


@pytest.mark.parametrize("reached", [Phase.LAUNCHED, Phase.CONFIGURED])
def test_what_has_not_been_pulled_cannot_be_exported(tmp_path: Path, reached: Phase) -> None:
    driver = SimulatedDriver(path=tmp_path / "world.json")
    open_workspace(driver).up(UpOptions(target=reached))
    with pytest.raises(ChangesPending, match=f"is {reached}") as caught:
        open_workspace(driver).export(tmp_path / "offline.tar")
    assert caught.value.exit_code == 3
    assert "polis up --to images-pulled" in caught.value.hint
    assert not (tmp_path / "offline.tar").exists()


def test_a_name_in_the_environment_is_a_name_whatever_it_looks_like(tmp_path: Path) -> None:
    found = config.load({}, file=None, user_directory=tmp_path, environ={"POLIS_OFFLINE": "2026"}).offline
    assert found is not None
    assert found.file == Path.cwd() / "2026"


# ---- the export


def report(**changes: Any) -> GuestReport:
    bundle = {"digest": archive.load().digest, "fingerprint": "f", "intact": True}
    values = {
        "boot_id": "1",
        "cloud_init": {"finished": True},
        "sentinel": {"docker": "27"},
        "bundle": bundle,
        "expected": [service().model_dump()],
        "images": [{"reference": "r.example/team/a:v1", "id": ID, "digests": [f"r.example/team/a@{DIGEST}"]}],
    }
    return GuestReport.model_validate({**values, **changes})


def guest() -> Guest:
    packages = {"packages": [{"path": "/p/docker.deb", "control": CONTROL}], "sysbox": "/p/sysbox-ce.deb"}
    answers = {"packages": packages, "save-image": {"path": "/incoming/x"}, "discard-images": {}}
    files = {"/p/docker.deb": b"docker", "/p/sysbox-ce.deb": b"sysbox", "/incoming/x": b"layers"}
    return Guest(answers, files)


def exporter(source: Guest, seen: GuestReport, told: list[str] | None = None) -> export.Exporter:
    origin = export.Origin(archive.load(), "v1", "r.example/team", BASE, "amd64")
    tell = (told if told is not None else []).append
    return export.Exporter(source, origin, seen, lambda detail, _done, _total: tell(detail), 1)  # type: ignore[arg-type]


def test_what_is_exported_can_be_used(tmp_path: Path) -> None:
    told: list[str] = []
    # A process that was killed left these.
    (tmp_path / ".offline.tar.work").mkdir()
    (tmp_path / ".offline.tar.1-x.partial").touch()
    source = guest()
    done = exporter(source, report(), told).write(tmp_path / "offline.tar")
    assert done.sha256 == hashlib.sha256(done.path.read_bytes()).hexdigest()
    assert (done.images, done.packages, done.size) == (1, 1, done.path.stat().st_size)
    found = reading.open_file(done.path)
    found.verify(sha256=done.sha256)
    assert found.read(DEB) == b"docker"
    assert found.read(SAVED) == b"layers"
    assert found.read("bundle.tar") == archive.load().content
    lock = imagelock.parse(found.read("images.lock"), "images.lock")
    assert lock == {"a:v1": {"digest": DIGEST, "id": ID}}
    assert found.manifest.installed == {"docker": "27"}
    assert "r.example/team/a:v1" in told
    assert [command for command, _ in source.calls] == ["packages", "save-image", "discard-images"]
    assert list(tmp_path.iterdir()) == [done.path]


def test_an_image_that_two_references_name_is_in_it_once(tmp_path: Path) -> None:
    other = "r.example/team/b:v1"
    seen = report(
        expected=[service().model_dump(), service(name="b", image=other, reference=other).model_dump()],
        images=[{"reference": each, "id": ID, "digests": []} for each in ("r.example/team/a:v1", other)],
    )
    source = guest()
    done = exporter(source, seen).write(tmp_path / "offline.tar")
    found = reading.open_file(done.path)
    assert [image.reference for image in found.manifest.images] == ["r.example/team/a:v1", other]
    assert [command for command, _ in source.calls].count("save-image") == 1
    assert imagelock.parse(found.read("images.lock"), "x") == {}, "without a digest nothing can be locked"


def test_a_vm_with_another_bundle_is_not_exported_as_this_one(tmp_path: Path) -> None:
    seen = report(bundle={"digest": "sha256:other", "fingerprint": "f", "intact": True})
    with pytest.raises(ChangesPending, match="another bundle"):
        exporter(guest(), seen).write(tmp_path / "offline.tar")
    assert list(tmp_path.iterdir()) == []


def test_a_vm_that_kept_no_packages_is_told(tmp_path: Path) -> None:
    source = guest()
    source.answers["packages"] = {"packages": [], "sysbox": None}
    with pytest.raises(ChangesPending, match="has not kept the packages"):
        exporter(source, report()).write(tmp_path / "offline.tar")
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_cannot_save_leaves_no_file_here_and_none_there(tmp_path: Path) -> None:
    source = guest()
    source.answers["save-image"] = {"error": "no space left on device"}
    with pytest.raises(GuestCommandFailed) as caught:
        exporter(source, report()).write(tmp_path / "offline.tar")
    assert caught.value.cause == "no space left on device"
    assert source.calls[-1][0] == "discard-images"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(HostUnsuitable):
        exporter(guest(), report()).write(tmp_path / "missing" / "offline.tar")


@pytest.mark.parametrize(
    "control",
    [
        "Package: ../../x\nVersion: 1/2\nArchitecture: amd64\n",
        "Version: 1\nArchitecture: amd64\n",
        "Description: x\nPackage: a\nVersion: 1\nArchitecture: amd64\n",
        "",
    ],
)
def test_what_a_guest_calls_its_packages_cannot_lead_anywhere(tmp_path: Path, control: str) -> None:
    source = guest()
    source.answers["packages"]["packages"][0]["control"] = control
    with pytest.raises(GuestCommandFailed, match="a package that is none"):
        exporter(source, report()).write(tmp_path / "offline.tar")
    assert list(tmp_path.iterdir()) == []
