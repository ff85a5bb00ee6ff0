"""The shipped document's script in a real shell, with scripted tools around it: what it tries again, and what not."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from polis.cloudinit import document

pytestmark = pytest.mark.processes

DEB = b"the Sysbox package"
WANTED = hashlib.sha256(DEB).hexdigest()

TOOL = """\
#!/bin/sh
# Notes its call; then does what the file for its n-th call says, or nothing.
name=${0##*/}
echo "$name $*" >> CALLS
turn=$(grep -c "^$name " CALLS)
for script in "SCRIPTS/$name.$turn" "SCRIPTS/$name"; do
    [ ! -f "$script" ] || { . "$script"; exit; }
done
"""
TOOLS = (
    *("curl", "apt-get", "apt-mark", "systemctl", "systemd-detect-virt", "sysctl", "augenrules", "passwd"),
    *("dpkg-query", "sleep", "mount"),
)

UNREACHABLE = "E: Failed to fetch http://m.example/InRelease  503  Service Unavailable [IP: 10.0.2.2 80]"


@dataclass
class Guest:
    """A directory that stands for the guest's file system, and the tools in it."""

    root: Path

    def teach(self, name: str, script: str, *, turn: int | None = None) -> None:
        """Make a tool do this at its n-th call, or at every call."""
        (self.root / "scripts" / (name if turn is None else f"{name}.{turn}")).write_text(script + "\n")

    def boot(self) -> int:
        """Run the script; return its exit code."""
        (text,) = yaml.safe_load(document.read(None).text)["runcmd"]
        for directory in ("/var/lib/polis", "/var/cache", "/var/lib/cloud", "/opt/polis", "/etc/polis", "/run"):
            text = text.replace(directory, f"{self.root}{directory}")
        script = self.root / "script"
        script.write_text(text)
        path = f"{self.root}/bin:/usr/bin:/bin"
        done = subprocess.run(["/bin/sh", str(script)], env={"PATH": path}, capture_output=True, text=True, check=False)
        return done.returncode

    @property
    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def called(self, name: str) -> list[str]:
        return [call.removeprefix(f"{name} ") for call in self.calls if call.startswith(f"{name} ")]

    @property
    def pauses(self) -> list[int]:
        return [int(words) for words in self.called("sleep")]

    @property
    def failure(self) -> dict[str, str] | None:
        return self._json("failure.json")

    @property
    def sentinel(self) -> dict[str, str] | None:
        return self._json("provisioned.json")

    def _json(self, name: str) -> dict[str, str] | None:
        path = self.root / "var/lib/polis" / name
        if not path.exists():
            return None
        value: dict[str, str] = json.loads(path.read_text())
        return value


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    for directory in ("bin", "scripts", "run", "etc/polis", "var/cache", "var/lib/cloud/instance"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "var/lib/cloud/instance/user-data.txt").write_text("#cloud-config of the site\n")
    (tmp_path / "etc/polis/sysbox.places").write_text(
        "https://one.example/sysbox.deb\nhttps://two.example/sysbox.deb\n"
    )
    (tmp_path / "etc/polis/sysbox.sha256").write_text(f"{WANTED}\n")
    for name in TOOLS:
        tool = tmp_path / "bin" / name
        tool.write_text(TOOL.replace("CALLS", f"{tmp_path}/calls").replace("SCRIPTS", f"{tmp_path}/scripts"))
        tool.chmod(0o755)
    guest = Guest(tmp_path)
    guest.teach("curl", fetches(DEB))
    guest.teach("systemd-detect-virt", "exit 1")
    guest.teach("dpkg-query", 'for package; do :; done; printf "1.0-%s" "$package"')
    return guest


def fetches(data: bytes) -> str:
    return f"while [ $# -gt 1 ]; do [ $1 != -o ] || out=$2; shift; done; printf '{data.decode()}' > $out"


def test_a_good_day(guest: Guest) -> None:
    assert guest.boot() == 0
    assert guest.failure is None
    assert guest.sentinel is not None
    assert guest.sentinel["docker"] == "1.0-docker-ce"
    assert guest.sentinel["sysbox_sha256"] == WANTED
    assert guest.pauses == []
    order = guest.calls
    steps = [
        "systemctl mask --quiet --runtime docker.service docker.socket",
        "systemctl unmask --quiet --runtime docker.service docker.socket",
        "systemctl enable --quiet docker.service docker.socket sysbox.service",
        "systemctl stop docker.socket docker.service",
        "systemctl restart sysbox.service",
        "systemctl start docker.service",
        "sysctl --quiet --system",
        "augenrules --load",
        "passwd --quiet --lock root",
    ]
    assert [call for call in order if call in steps] == steps
    packages, sysbox = [call for call in guest.called("apt-get") if " install " in call]
    assert "docker-ce=5:27.5.1-1~ubuntu.24.04~noble" in packages
    assert "sysbox" in sysbox
    assert (guest.root / "var/lib/polis/packages/sysbox-ce.deb").read_bytes() == DEB, "kept for an export"
    assert all(f"Dir::Cache::archives={guest.root}/var/lib/polis/packages" in call for call in guest.called("apt-get"))


def test_the_copy_of_a_machine_that_this_document_provisioned_has_everything_already(guest: Guest) -> None:
    assert guest.boot() == 0
    kept = guest.root / "var/lib/polis/provisioned-by"
    assert kept.stat().st_mode & 0o077 == 0, "a site's document may hold a password"
    (guest.root / "calls").unlink()
    assert guest.boot() == 0
    assert guest.calls == []
    assert guest.sentinel is not None


def test_a_machine_that_another_document_provisioned_is_provisioned_again(guest: Guest) -> None:
    assert guest.boot() == 0
    (guest.root / "calls").unlink()
    (guest.root / "var/lib/cloud/instance/user-data.txt").write_text("#cloud-config of another site\n")
    assert guest.boot() == 0
    assert guest.called("apt-get")


def test_half_a_provisioned_machine_is_provisioned_again(guest: Guest) -> None:
    guest.teach("augenrules", "exit 1")
    assert guest.boot() == 1
    guest.teach("augenrules", "exit 0")
    (guest.root / "calls").unlink()
    (guest.root / "var/lib/polis/failure.json").unlink()
    assert guest.boot() == 0
    assert guest.called("apt-get")


def test_a_silent_place_is_tried_again_with_growing_pauses(guest: Guest) -> None:
    for turn in range(1, 5):
        guest.teach("curl", "exit 22", turn=turn)
    assert guest.boot() == 0
    assert guest.pauses == [5, 10]
    places = [call.rpartition("//")[2].partition("/")[0] for call in guest.called("curl")]
    assert places == ["one.example", "two.example"] * 2 + ["one.example"]


def test_no_place_answers(guest: Guest) -> None:
    guest.teach("curl", "exit 6")
    assert guest.boot() == 1
    assert guest.failure is not None
    assert guest.failure["kind"] == "unreachable"
    assert sum(guest.pauses) >= 120
    assert guest.sentinel is None


def test_a_wrong_hash_ends_it_before_anything_is_installed(guest: Guest) -> None:
    guest.teach("curl", fetches(b"evil"))
    assert guest.boot() == 1
    assert guest.failure == {
        "kind": "integrity",
        "what": "sysbox.deb",
        "expected": f"the sha256 {WANTED}",
        "actual": hashlib.sha256(b"evil").hexdigest(),
    }
    assert guest.pauses == []
    assert guest.called("apt-get") == []
    assert not list(guest.root.glob("var/lib/polis/packages/*.deb"))


def test_a_wrong_hash_from_one_place_does_not_spoil_the_next(guest: Guest) -> None:
    guest.teach("curl", fetches(b"evil"), turn=1)
    assert guest.boot() == 0
    assert guest.failure is None


def test_a_wrong_hash_beside_a_silent_place_waits_and_is_told_at_the_end(guest: Guest) -> None:
    for turn in range(1, 20, 2):
        guest.teach("curl", fetches(b"evil"), turn=turn)
        guest.teach("curl", "exit 22", turn=turn + 1)
    assert guest.boot() == 1
    assert guest.failure is not None
    assert guest.failure["kind"] == "integrity"
    assert sum(guest.pauses) >= 120


def test_repositories_that_are_down_for_a_while_are_waited_for(guest: Guest) -> None:
    for turn in range(1, 5):
        guest.teach("apt-get", f"echo '{UNREACHABLE}'; exit 100", turn=turn)
    assert guest.boot() == 0
    assert guest.pauses == [5, 10]


def test_an_update_that_fails_in_part_is_no_obstacle_if_the_packages_come(guest: Guest) -> None:
    guest.teach("apt-get", f"echo '{UNREACHABLE}'; exit 100", turn=1)
    assert guest.boot() == 0
    assert guest.pauses == []


def test_repositories_that_stay_down(guest: Guest) -> None:
    guest.teach("apt-get", f"echo '{UNREACHABLE}'; exit 100")
    assert guest.boot() == 1
    assert guest.failure is not None
    assert (guest.failure["kind"], guest.failure["actual"]) == ("unreachable", UNREACHABLE)
    assert sum(guest.pauses) >= 120


def test_while_the_lists_are_missing_a_package_that_is_not_found_is_no_final_answer(guest: Guest) -> None:
    guest.teach("apt-get", f"echo '{UNREACHABLE}'; exit 100", turn=1)
    guest.teach("apt-get", "echo 'E: Unable to locate package docker-ce'; exit 100", turn=2)
    assert guest.boot() == 0
    assert guest.pauses == [5]


@pytest.mark.parametrize(
    "line",
    [
        "W: OpenPGP signature verification failed: http://m.example InRelease: Missing key 15DF0095C96D10CB13C4",
        "W: GPG error: http://m.example InRelease: The public key is not available: NO_PUBKEY 7EA0A9C3F273FCD8",
        "E: The repository http://m.example noble InRelease is not signed.",
        "W: GPG error: http://m.example InRelease: The following signatures were invalid: BADSIG 7EA0A9C3F273FCD8",
    ],
)
def test_a_signature_of_another_key_ends_it_at_once(guest: Guest, line: str) -> None:
    guest.teach("apt-get", f"echo \"{line}\"; echo 'E: The repository x is not signed.'; exit 100")
    assert guest.boot() == 1
    assert guest.failure is not None
    assert guest.failure["kind"] == "integrity"
    assert guest.failure["actual"] == line
    assert guest.pauses == []
    assert [call for call in guest.called("apt-get") if "install" in call] == []


@pytest.mark.parametrize(
    "line",
    [
        "E: Unable to locate package docker-ce",
        "E: Version '5:27.5.1-1~ubuntu.24.04~noble' for 'docker-ce' was not found",
        "E: Package 'docker-ce' has no installation candidate",
    ],
)
def test_a_package_that_is_not_there_ends_it_at_once(guest: Guest, line: str) -> None:
    guest.teach("apt-get", f'echo "{line}"; exit 100', turn=2)
    assert guest.boot() == 1
    assert guest.failure is not None
    assert (guest.failure["kind"], guest.failure["actual"]) == ("missing", line)
    assert guest.pauses == []


def test_a_package_of_a_wrong_hash_is_tried_again_for_mirrors_change_while_they_are_read(guest: Guest) -> None:
    guest.teach("apt-get", "echo 'E: Failed to fetch http://m.example/x.deb  Hash Sum mismatch'; exit 100", turn=2)
    assert guest.boot() == 0
    (guest.root / "var/lib/polis/provisioned.json").unlink()
    guest.teach("apt-get", "case $* in *install*) echo 'E: Failed to fetch x.deb  Hash Sum mismatch'; exit 100;; esac")
    assert guest.boot() == 1
    assert guest.failure is not None
    assert guest.failure["kind"] == "integrity"


def test_any_other_failure_of_apt(guest: Guest) -> None:
    guest.teach("apt-get", "case $* in *install*) echo 'E: You have not enough free space'; exit 100;; esac")
    assert guest.boot() == 1
    assert guest.failure is not None
    assert guest.failure["kind"] == "failed"
    assert guest.failure["what"] == "installing packages"
    assert "not enough free space" in guest.failure["actual"]


@pytest.mark.parametrize(
    ("tool", "step"),
    [("augenrules", "hardening"), ("apt-mark", "installing Sysbox"), ("dpkg-query", "writing the sentinel")],
)
def test_a_step_that_fails_is_named_and_there_is_no_sentinel(guest: Guest, tool: str, step: str) -> None:
    guest.teach(tool, "exit 3")
    assert guest.boot() != 0
    assert guest.sentinel is None
    assert guest.failure is not None
    assert (guest.failure["kind"], guest.failure["what"]) == ("failed", step)


@pytest.mark.parametrize("tool", ["sysctl", "augenrules"])
def test_what_only_a_kernel_could_take_ends_no_container_s_first_boot(guest: Guest, tool: str) -> None:
    guest.teach(tool, "exit 1")
    guest.teach("systemd-detect-virt", "[ \"$*\" = '--quiet --container' ]")
    assert guest.boot() == 0
    assert guest.sentinel is not None


@pytest.mark.parametrize("tool", ["sysctl", "augenrules"])
def test_what_only_a_kernel_could_take_ends_the_first_boot_of_all_else(guest: Guest, tool: str) -> None:
    guest.teach(tool, "exit 1")
    assert guest.boot() != 0
    assert guest.sentinel is None


def test_the_proxy_is_used(guest: Guest) -> None:
    (guest.root / "etc/polis/proxy.sh").write_text("export https_proxy='http://proxy.example:3128'\n")
    guest.teach("curl", f'echo "$https_proxy" > {guest.root}/seen; {fetches(DEB)}')
    assert guest.boot() == 0
    assert (guest.root / "seen").read_text() == "http://proxy.example:3128\n"


def with_medium(guest: Guest) -> None:
    (guest.root / "etc/polis/medium").write_text(f"LABEL {guest.root}/run/medium\n")
    guest.teach("apt-get", f'echo "$APT_CONFIG" > {guest.root}/seen')


def test_a_medium_is_mounted_before_anything_is_fetched_and_apt_told(guest: Guest) -> None:
    with_medium(guest)
    assert guest.boot() == 0
    assert guest.calls[0] == f"mount -o ro -L LABEL {guest.root}/run/medium"
    assert (guest.root / "run/medium").is_dir()
    assert (guest.root / "seen").read_text() == f"{guest.root}/etc/polis/medium-apt.conf\n"


def test_without_a_medium_nothing_is_mounted_and_apt_is_as_it_always_is(guest: Guest) -> None:
    guest.teach("apt-get", f'echo "$APT_CONFIG" > {guest.root}/seen')
    assert guest.boot() == 0
    assert guest.called("mount") == []
    assert (guest.root / "seen").read_text() == "\n"


def test_a_medium_that_is_missing_is_told(guest: Guest) -> None:
    with_medium(guest)
    guest.teach("mount", "exit 32")
    assert guest.boot() != 0
    assert guest.failure is not None
    assert guest.failure["what"] == "mounting the medium with the packages"
    assert guest.called("curl") == []


def test_what_apt_says_cannot_break_the_account(guest: Guest) -> None:
    guest.teach(
        "apt-get", """printf 'E: Unable to locate package "\\\\\\\\ $(id) `id`\\t\\033[31m x\\n'; exit 100""", turn=2
    )
    assert guest.boot() == 1
    assert guest.failure is not None
    assert guest.failure["kind"] == "missing"
    assert "\x1b" not in guest.failure["actual"]
    assert "$(id)" in guest.failure["actual"]


UNBELIEVED = "curl: (60) SSL certificate problem: unable to get local issuer certificate"
LOOK = """case $* in
*-ksvI*) printf '* Server certificate:\\n*  subject: CN=two\\n*  issuer: O=Office; CN=Office CA\\n' >&2; exit;;
esac
"""
"""What curl tells of a certificate when it is asked to look without believing."""


def test_a_certificate_that_is_not_trusted_ends_it_at_once_and_its_signer_is_told(guest: Guest) -> None:
    guest.teach("curl", f"{LOOK}echo '{UNBELIEVED}' >&2; exit 60")
    assert guest.boot() == 1
    assert guest.failure == {
        "kind": "untrusted",
        "what": "the server two.example",
        "expected": "a certificate from an authority that the VM trusts",
        "actual": f"{UNBELIEVED}; it is signed by O=Office; CN=Office CA",
    }
    assert guest.pauses == []
    assert guest.called("apt-get") == []


def test_a_place_whose_certificate_is_not_trusted_does_not_spoil_the_next(guest: Guest) -> None:
    guest.teach("curl", f"echo '{UNBELIEVED}' >&2; exit 60", turn=1)
    assert guest.boot() == 0
    assert guest.failure is None


def test_a_place_that_is_not_trusted_beside_a_silent_one_waits_for_that(guest: Guest) -> None:
    guest.teach("curl", f"echo '{UNBELIEVED}' >&2; exit 60", turn=1)
    guest.teach("curl", "exit 22", turn=2)
    guest.teach("curl", f"echo '{UNBELIEVED}' >&2; exit 60", turn=3)
    assert guest.boot() == 0
    assert guest.pauses == [5]


@pytest.mark.parametrize(
    "words",
    [
        "Certificate verification failed: The certificate is NOT trusted. The certificate issuer is unknown.",
        "SSL connection failed: error:0A000086:SSL routines::certificate verify failed / Success [IP: 10.0.2.2 1]",
    ],
)
@pytest.mark.parametrize("turn", [1, 2])
def test_a_repository_whose_certificate_is_not_trusted_ends_it_at_once(guest: Guest, turn: int, words: str) -> None:
    line = f"E: Failed to fetch https://mirror.example/docker/InRelease  {words}"
    guest.teach("curl", LOOK + fetches(DEB))
    guest.teach("apt-get", f"echo 'Err:1 https://mirror.example noble InRelease'; echo '{line}'; exit 100", turn=turn)
    assert guest.boot() == 1
    assert guest.failure is not None
    assert (guest.failure["kind"], guest.failure["what"]) == ("untrusted", "the server mirror.example")
    assert guest.failure["actual"] == f"{line}; it is signed by O=Office; CN=Office CA"
    assert guest.pauses == []


def test_who_signed_is_left_out_where_it_cannot_be_seen(guest: Guest) -> None:
    guest.teach("curl", f"echo '{UNBELIEVED}' >&2; exit 60")
    assert guest.boot() == 1
    assert guest.failure is not None
    assert guest.failure["actual"] == UNBELIEVED
