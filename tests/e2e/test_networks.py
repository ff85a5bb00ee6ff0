"""Networks that are not the open internet, in real VMs: behind a proxy that opens TLS, and with no way out at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.interceptor import Interception
from lab.world import DOCKER_PATH, GATEWAY, NAMESPACE, SYSBOX_PATH, World
from polis.bundle.environment import IMAGES
from tests.e2e.conftest import ROOT, User, qemus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

REGISTRY = "registry.polis.test"
MIRROR = "mirror.polis.test"
"""Names that nobody resolves: whoever reaches them went through the proxy."""


@dataclass
class Office:
    """A network with a proxy in it, and somebody who works there."""

    proxy: Interception
    user: User
    file: Path
    """Where the workspace is exported to."""

    @property
    def trust(self) -> dict[str, str]:
        """What makes a VM trust the proxy."""
        return {"POLIS_CA_CERTS": json.dumps([str(self.proxy.ca)])}


@pytest.fixture(scope="module")
def office(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    routes = {f"{REGISTRY}:443": world.proxy_port, f"{MIRROR}:443": world.secure_mirror_port}
    directory = tmp_path_factory.mktemp("office")
    with Interception(directory / "proxy", routes=routes, origins=world.ca) as proxy:
        mirrors = world.mirrors()
        del mirrors["registry"]
        mirrors["docker"]["location"] = f"https://{MIRROR}{DOCKER_PATH}"
        mirrors["sysbox"]["places"] = [f"https://{MIRROR}{SYSBOX_PATH}"]
        user = User(
            directory / "home",
            ROOT / "lab" / "polis.yaml",
            {
                "POLIS_NAME": "office",
                "POLIS_IMAGES_LOCK": str(world.images_lock),
                "POLIS_MEMORY": "2G",
                "POLIS_REGISTRY": f"{REGISTRY}/{NAMESPACE}",
                "POLIS_MIRRORS": json.dumps(mirrors),
                "POLIS_PROXY": f"http://{GATEWAY}:{proxy.port}",
                "POLIS_RETRY": "{attempts: 2, base: 0.1, cap: 0.2, silence: 15}",
            },
        )
        yield Office(proxy, user, directory / "offline.tar")
        user.type("delete", "-y")
        for process in qemus(user.home):
            process.kill()


def test_without_its_ca_the_first_download_ends_it_and_the_reason_is_plain(office: Office, world: World) -> None:
    result = office.user.type("up", "--json")
    error = result.events[-1]["error"]
    assert (result.code, error["kind"], error["phase"]) == (70, "certificate-untrusted", "launched"), error
    assert f"the server {MIRROR}: expected a certificate from an authority that the VM trusts" in error["message"]
    assert "CN=Polis lab interception" in error["message"].replace(" = ", "=")
    assert "curl: (60)" in error["message"]
    assert "a proxy" in error["hint"]
    assert "`ca_certs`" in error["hint"]
    assert "polis up --recreate" in error["hint"]
    assert error["retryable"] is False
    # At once: one attempt at the package, and one look at who signed, which takes nothing.
    assert [entry.method for entry in office.proxy.log()] == ["CONNECT", "CONNECT", "HEAD"]
    assert [entry.method for entry in world.access_log()] == ["HEAD"]


def test_with_its_ca_everything_comes_through_it(office: Office, world: World) -> None:
    office.proxy.clear_log()
    told = office.user.type("plan", "--json", **office.trust)
    assert "cloud-init" in told.stdout
    result = office.user.succeed("up", "--recreate", "-y", "--to", "images-pulled", "--json", **office.trust)
    assert result.phases("phase.completed") == ["launched", "configured", "images-pulled"]
    seen = Counter((entry.method, entry.path.split(":443", 1)[-1]) for entry in office.proxy.log())
    served = Counter((entry.method, entry.path) for entry in world.access_log())
    assert not served - seen, "somebody was reached without the proxy"
    paths = "\n".join(path for _, path in served)
    for part in ("/InRelease", "/docker-ce_", SYSBOX_PATH, "/polis-gate/manifests/", "/blobs/sha256:"):
        assert part in paths
    trusting = {**office.user.environment, **office.trust}
    office.user.environment = trusting
    daemon = json.loads(office.user.guest("cat", "/etc/docker/daemon.json", name="office"))
    assert "10.30.1.0/24" in daemon["proxies"]["no-proxy"]
    assert office.user.type("exec", "getent", "hosts", REGISTRY).code != 0
    variables = office.user.guest("grep", "PROXY", "/opt/polis/current/.env", name="office")
    assert f"POLIS_HTTPS_PROXY={office.user.environment['POLIS_PROXY']}" in variables.replace('"', "").replace("'", "")


def manifest(file: Path) -> dict[str, Any]:
    with tarfile.open(file) as tar:
        content = tar.extractfile("manifest.json")
        assert content is not None
        found: dict[str, Any] = json.load(content)
        return found


def test_everything_in_it_fits_into_one_file(office: Office, world: World) -> None:
    office.proxy.clear_log()
    world.clear_log()
    ended = office.user.succeed("bundle", "export", str(office.file), "--json").events[-1]
    assert (ended["event"], ended["outcome"], ended["file"]) == ("result", "exported", str(office.file))
    with office.file.open("rb") as file:
        assert ended["sha256"] == hashlib.file_digest(file, "sha256").hexdigest()
    assert [path.name for path in office.file.parent.iterdir() if path.name.startswith(".")] == []
    found = manifest(office.file)
    assert {image["reference"].rpartition("/")[2].partition(":")[0] for image in found["images"]} == {
        f"polis-{name}" for name in IMAGES
    }
    packages = {package["control"].split()[1] for package in found["packages"]}
    assert {"docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin", "runc"} <= packages
    assert world.access_log() == []
    assert office.user.guest("ls", "/var/lib/polis/incoming", name="office") == ""
    office.user.succeed("delete", "-y")


@pytest.fixture(scope="module")
def island(office: Office, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """Somebody on a machine whose only network is its own loopback; the lab does not answer there either."""
    own = ["--map-root-user"] if os.getuid() else []
    script = "ip link set lo up && echo up && exec sleep infinity"
    with subprocess.Popen(["unshare", *own, "--net", "sh", "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        entering = ("nsenter", f"--net=/proc/{holder.pid}/ns/net")
        mirrors = {**world.mirrors(), "registry": None}
        user = User(
            tmp_path_factory.mktemp("island"),
            ROOT / "lab" / "polis.yaml",
            {
                "POLIS_NAME": "island",
                "POLIS_IMAGES_LOCK": str(world.images_lock),
                "POLIS_REGISTRY": f"{REGISTRY}/{NAMESPACE}",
                "POLIS_MIRRORS": json.dumps(mirrors),
            },
            entering if not own else ("nsenter", f"--user=/proc/{holder.pid}/ns/user", *entering[1:]),
        )
        try:
            yield user
        finally:
            user.type("delete", "-y")
            for process in qemus(user.home):
                process.kill()
            holder.kill()


def test_a_file_that_somebody_changed_is_refused_before_anything(office: Office, island: User, tmp_path: Path) -> None:
    copy = tmp_path / "offline.tar"
    copy.write_bytes(office.file.read_bytes())
    with copy.open("r+b") as file:
        file.seek(copy.stat().st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    refused = island.type("up", "--offline", str(copy), "--json")
    assert refused.code == 77, refused
    assert "nothing was changed" in refused.events[-1]["error"]["remains"]
    copy.write_bytes(b"something else")
    assert island.type("up", "--offline", str(copy)).code == 78
    assert island.status("island")["instance"] is None


def test_with_the_file_and_no_network_at_all_everything_is_there(office: Office, island: User) -> None:
    result = island.succeed("up", "--offline", str(office.file), "--to", "images-pulled", "--json")
    assert result.phases("phase.completed") == ["launched", "configured", "images-pulled"]
    found = manifest(office.file)
    wanted = {image["id"] for image in found["images"]}
    assert set(island.guest("docker", "image", "ls", "--quiet", "--no-trunc", name="island").split()) == wanted
    assert "docker-ce" in island.guest("apt-mark", "showhold", name="island").split()
    kept = island.guest("ls", "/var/lib/polis/packages", name="island").split()
    assert len([name for name in kept if name.endswith(".deb")]) == len(found["packages"]) + 1, "fit for an export"
    assert island.type("exec", "curl", "--silent", "--max-time", "5", f"http://{GATEWAY}/").code != 0


def test_a_vm_that_was_made_so_needs_the_file_no_more_and_is_healthy(island: User) -> None:
    result = island.succeed("up", "--json")
    assert not {"launched", "images-pulled"} & set(result.phases("phase.started"))
    assert island.status("island")["phase"] == "healthy"
