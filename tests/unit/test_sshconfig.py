"""What is written for an OpenSSH client is what that client reads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from polis.drivers.base import Instance, InstanceState
from polis.drivers.multipass import access
from polis.drivers.multipass.host import Host
from polis.drivers.sshconfig import SshAccess, quoted
from polis.errors import GuestCommandFailed, HostUnsuitable

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGuest+/= root@polis\n"


def test_paths_with_spaces_and_percent_signs() -> None:
    assert quoted("/Application Support/100%/k") == '"/Application Support/100%%/k"'
    assert quoted("/home/me/.local/share/polis/id_ed25519") == "/home/me/.local/share/polis/id_ed25519"


def read_by_ssh(access: SshAccess, file: Path) -> dict[str, str]:
    file.write_text(access.text + "\n")
    done = subprocess.run(
        ["ssh", "-G", "-T", "-F", str(file), access.host], capture_output=True, text=True, check=True, timeout=30
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


@pytest.mark.processes
@pytest.mark.parametrize("path", ["/a b/k", '/a"b', "/a'b", "/a\\b", "/a\\\\b", "/a#b", "/a=b", "/ü/k", "/a\tb"])
def test_ssh_reads_awkward_paths_as_they_are(path: str, tmp_path: Path) -> None:
    written = SshAccess("polis-polis", {"HostName": "127.0.0.1", "Port": "40022", "IdentityFile": path, "User": "u"})
    read = read_by_ssh(written, tmp_path / "config")
    assert (read["hostname"], read["port"], read["user"], read["identityfile"]) == ("127.0.0.1", "40022", "u", path)


@pytest.mark.processes
def test_ssh_reads_forwards_as_they_are(tmp_path: Path) -> None:
    written = SshAccess("polis-polis", {"HostName": "127.0.0.1"}, {19000: "10.10.1.100:9000"})
    assert read_by_ssh(written, tmp_path / "config")["localforward"] == "[127.0.0.1]:19000 [10.10.1.100]:9000"


@pytest.mark.processes
def test_multipass_s_host_key_stands_in_the_options(tmp_path: Path) -> None:
    seen = Instance("multipass", "polis", InstanceState.RUNNING, ipv4=("10.1.2.3", "172.17.0.1"))
    options = access.options(seen, Path("/a b/id_rsa"), HOST_KEY)
    read = read_by_ssh(SshAccess("polis-polis", options), tmp_path / "config")
    assert (read["hostname"], read["port"], read["identityfile"]) == ("10.1.2.3", "22", "/a b/id_rsa")
    assert read["knownhostscommand"] == f"/bin/echo polis-polis {HOST_KEY.rpartition(' ')[0]}"
    assert (read["hostkeyalias"], read["stricthostkeychecking"]) == ("polis-polis", "true")


@pytest.mark.parametrize("said", ["", "cat: no such file", "ssh-ed25519", "ssh-ed25519 \n ProxyCommand evil"])
def test_what_is_no_host_key_does_not_get_into_the_options(said: str) -> None:
    seen = Instance("multipass", "polis", InstanceState.RUNNING, ipv4=("10.1.2.3",))
    with pytest.raises(GuestCommandFailed, match="no host key"):
        access.options(seen, Path("/k"), said)
    forged = access.options(seen, Path("/k"), HOST_KEY.strip() + "\n  ProxyCommand evil")
    assert "evil" not in SshAccess("polis-polis", forged).text


@pytest.mark.parametrize("host", [Host("linux", snap=True), Host("darwin"), Host("linux"), Host("win32")])
def test_a_key_that_cannot_be_read_is_told_with_what_works_instead(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(access, "KEYS", {key: str(tmp_path / "no" / "id_rsa") for key in access.KEYS})
    with pytest.raises(HostUnsuitable) as caught:
        access.key(host)
    assert caught.value.exit_code == 69
    assert "polis shell" in caught.value.hint
    assert "polis exec" in caught.value.hint
    assert caught.value.cause


def test_a_key_that_can_be_read_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "id_rsa").touch()
    monkeypatch.setattr(access, "KEYS", {"snap": str(tmp_path / "id_rsa")})
    assert access.key(Host("linux", snap=True)) == tmp_path / "id_rsa"
