from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from lab import oci
from lab.errors import LabError
from lab.oci import STANDIN, Image, Programs, Registry, build, digest_of
from polis.bundle.archive import DEFAULT


class FakeRegistry(ThreadingHTTPServer):
    """The part of a registry's API that a push needs, strict about its order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.log: list[str] = []
        self.absolute_locations = False
        self.broken = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    PATH = re.compile(r"^/v2/(?P<repository>.+?)/(?P<kind>blobs|manifests)/(?P<rest>.+)$")

    def do_HEAD(self) -> None:
        repository, kind, rest = self.split()
        held = self.registry.blobs if kind == "blobs" else self.registry.manifests
        found = held.get((repository, rest))
        if found is None:
            self.reply(404)
        else:
            self.reply(200, {"Docker-Content-Digest": digest_of(found)})

    def do_POST(self) -> None:
        repository, _, rest = self.split()
        assert rest == "uploads/"
        base = (
            f"http://elsewhere.invalid:1/v2/{repository}" if self.registry.absolute_locations else f"/v2/{repository}"
        )
        self.reply(202, {"Location": f"{base}/blobs/uploads/id?_state=x%3D"})

    def do_PUT(self) -> None:
        repository, kind, rest = self.split()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if kind == "blobs":
            assert rest.startswith("uploads/id?_state=x%3D&digest=")
            digest = rest.partition("digest=")[2]
            assert digest == digest_of(body)
            self.registry.blobs[repository, digest] = body
            self.reply(201)
            return
        manifest = json.loads(body)
        named = [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
        if self.registry.broken or any((repository, digest) not in self.registry.blobs for digest in named):
            self.reply(400, body=b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}')
            return
        assert self.headers["Content-Type"] == manifest["mediaType"] == oci.MANIFEST
        self.registry.manifests[repository, rest] = body
        self.reply(201)

    @property
    def registry(self) -> FakeRegistry:
        return cast("FakeRegistry", self.server)

    def split(self) -> tuple[str, str, str]:
        found = self.PATH.match(self.path)
        assert found is not None
        self.registry.log.append(f"{self.command} {found['kind']}")
        return found["repository"], found["kind"], found["rest"]

    def reply(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Return packages with every file that the stand-ins take from them."""
    for name in ("bin/busybox",):
        write(tmp_path / "busybox-static" / name, b"\x7fELF busybox")
    for files in oci.PROGRAMS.values():
        for package, patterns in files.items():
            for pattern in patterns:
                name = (
                    pattern.replace("**/*.so.*", f"usr/lib/{package}.so.1").replace("**/", "lib/x/").replace("*", "1")
                )
                write(tmp_path / package / name, f"\x7fELF {package} {name}".encode())
    (tmp_path / "libc6/lib64").mkdir()
    (tmp_path / "libc6/lib64/ld-linux-y.so.2").symlink_to("/lib/x/ld-linux1.so.1")
    return Programs(tmp_path, "amd64")


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def fetched(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(oci, "fetch", lambda _: programs)
    return programs


def config_of(image: Image) -> dict[str, Any]:
    digest = json.loads(image.manifest)["config"]["digest"]
    return cast("dict[str, Any]", json.loads(image.blobs[digest]))


def layers_of(image: Image) -> list[dict[str, tarfile.TarInfo]]:
    found = []
    for layer in json.loads(image.manifest)["layers"]:
        with tarfile.open(fileobj=io.BytesIO(image.blobs[layer["digest"]])) as tar:
            found.append({member.name: member for member in tar})
    return found


every_image = pytest.mark.parametrize("name", sorted(STANDIN))


@every_image
def test_the_same_inputs_give_the_same_digest(programs: Programs, name: str) -> None:
    assert build(programs, name, "v1") == build(programs, name, "v1")
    assert build(programs, name, "v1").digest != build(programs, name, "v2").digest


@every_image
def test_manifest_and_config_fit_the_blobs(programs: Programs, name: str) -> None:
    image = build(programs, name, "v1")
    manifest, config = json.loads(image.manifest), config_of(image)
    assert manifest["schemaVersion"] == 2
    for descriptor in [manifest["config"], *manifest["layers"]]:
        blob = image.blobs[descriptor["digest"]]
        assert descriptor["digest"] == "sha256:" + hashlib.sha256(blob).hexdigest()
        assert descriptor["size"] == len(blob)
    # The layers are not compressed, so what they are called unpacked is what they are called packed.
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"] for layer in manifest["layers"]]}
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["config"]["Entrypoint"] or config["config"]["Cmd"]


@every_image
def test_a_layer_is_portable_and_its_programs_can_run(programs: Programs, name: str) -> None:
    tree: dict[str, tarfile.TarInfo] = {}
    for layer in layers_of(build(programs, name, "v1")):
        assert {(m.mtime, m.uid, m.gid) for m in layer.values()} == {(0, 0, 0)}
        assert all(layer[str(parent)].isdir() for path in layer for parent in Path(path).parents[:-1])
        tree |= layer
    assert tree["bin"].linkname == "usr/bin"
    assert not any(path.split("/")[0] in {"bin", "sbin", "lib", "lib64"} for path in tree if "/" in path)
    standin = STANDIN[name]
    for program in (standin.entrypoint or standin.cmd)[:1]:
        place = oci._merged(program.strip("/")) if "/" in program else f"usr/bin/{program}"
        assert tree[place].issym() or tree[place].mode == 0o755


def test_base_and_programs_are_shared_and_the_rest_is_not(programs: Programs) -> None:
    layers = {
        name: [layer["digest"] for layer in json.loads(build(programs, name, "v1").manifest)["layers"]]
        for name in STANDIN
    }
    assert len({own[0] for own in layers.values()}) == 1
    assert layers["resolver"][:3] == layers["certgen"][:3]
    assert layers["init"][1] == layers["certgen"][1]
    assert layers["gate"][2] == layers["toolbox"][2] == layers["sentinel"][2] == layers["certgen"][2]
    assert layers["state"][2] == layers["toolbox"][3]
    own = [digest for digests in layers.values() for digest in digests[-2:]]
    assert len(own) == len(set(own)) == 18


def test_only_the_small_layer_of_an_image_changes_with_its_version(programs: Programs) -> None:
    old, new = (json.loads(build(programs, "gate", version).manifest)["layers"] for version in ("v1", "v2"))
    shared = [True, *(True for _ in STANDIN["gate"].programs)]
    assert [a == b for a, b in zip(old, new, strict=True)] == [*shared, False, True]


def test_ballast_is_long_enough_to_be_cut(programs: Programs) -> None:
    for name in STANDIN:
        size = layers_of(build(programs, name, "v1"))[-1]["usr/share/polis/ballast"].size
        assert oci.BALLAST <= size < 2 * oci.BALLAST


def test_every_name_that_the_compose_file_asks_for_is_published() -> None:
    asked = set(re.findall(r"/polis-([a-z]+)\$", (DEFAULT / "docker-compose.yml").read_text()))
    assert asked == set(STANDIN)


def test_a_program_that_a_package_lacks_is_named(programs: Programs) -> None:
    """Even if the package has the others: an image without it would fail in the VM, minutes later."""
    (programs.root / "perl-base/usr/bin/perl").unlink()
    with pytest.raises(LabError, match=r"perl-base has none of: usr/bin/perl$"):
        build(programs, "resolver", "v1")


@pytest.mark.parametrize("absolute", [False, True])
def test_push_puts_blobs_before_the_manifest(registry: FakeRegistry, programs: Programs, *, absolute: bool) -> None:
    registry.absolute_locations = absolute
    image = build(programs, "gate", "v1")
    Registry(registry.address).push("lab/polis-gate", "v1", image)
    assert registry.manifests == {("lab/polis-gate", "v1"): image.manifest}
    assert registry.blobs == {("lab/polis-gate", digest): blob for digest, blob in image.blobs.items()}
    assert registry.log == [
        "HEAD manifests",
        *["HEAD blobs", "POST blobs", "PUT blobs"] * len(image.blobs),
        "PUT manifests",
    ]


def test_what_is_there_is_not_sent_again(registry: FakeRegistry, programs: Programs) -> None:
    target = Registry(registry.address)
    target.push("r", "v1", build(programs, "gate", "v1"))
    registry.log.clear()
    target.push("r", "v1", build(programs, "gate", "v1"))
    assert registry.log == ["HEAD manifests"]
    target.push("r", "v2", build(programs, "gate", "v2"))
    assert registry.log.count("PUT blobs") == 2  # the small layer, and the config that names it


def test_a_refusal_tells_what_the_registry_said(registry: FakeRegistry, programs: Programs) -> None:
    registry.broken = True
    with pytest.raises(LabError, match=r"answered 400 to PUT /v2/r/manifests/v1: .*MANIFEST_BLOB_UNKNOWN"):
        Registry(registry.address).push("r", "v1", build(programs, "gate", "v1"))


def test_no_registry_is_a_clear_error(registry: FakeRegistry, programs: Programs) -> None:
    registry.shutdown()
    registry.server_close()
    with pytest.raises(LabError, match="does not answer"):
        Registry(registry.address).push("r", "v1", build(programs, "gate", "v1"))


@pytest.mark.usefixtures("fetched")
def test_publish_returns_digest_and_id_of_every_reference(registry: FakeRegistry, tmp_path: Path) -> None:
    published = oci.publish(registry=registry.address, namespace="lab", versions=["v1"], cache=tmp_path)
    assert set(published) == {f"lab/polis-{name}:v1" for name in STANDIN}
    for reference, pin in published.items():
        repository, _, tag = reference.partition(":")
        manifest = registry.manifests[repository, tag]
        assert pin == {"digest": digest_of(manifest), "id": json.loads(manifest)["config"]["digest"]}


@pytest.mark.usefixtures("fetched")
def test_a_version_may_differ_in_some_images_only(registry: FakeRegistry, tmp_path: Path) -> None:
    published = oci.publish(
        registry=registry.address,
        namespace="lab",
        versions=["v1", "v2", "v3"],
        cache=tmp_path,
        changed={"v2": ["gate"]},
    )

    def differing(version: str) -> set[str]:
        return {n for n in STANDIN if published[f"lab/polis-{n}:v1"] != published[f"lab/polis-{n}:{version}"]}

    assert differing("v2") == {"gate"}
    assert differing("v3") == set(STANDIN)
