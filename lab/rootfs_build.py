"""The image's root file system: which packages, from where, and how mmdebstrap is called."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).resolve().parent
OVERLAY = HERE / "rootfs"
CUSTOMIZE = HERE / "customize.sh"

SUITE = "trixie"
PACKAGES = (
    "apparmor",
    "auditd",
    "busybox-static",  # the initrd's only program
    "ca-certificates",
    "cloud-init",
    "curl",
    "dbus",
    "e2fsprogs",  # resize2fs: without it cloud-init reports an error
    "iproute2",
    "iptables",
    "jq",
    "kmod",
    "libnss-myhostname",  # or sudo asks a name server for the machine's own name
    "linux-image-cloud-amd64",
    "netcat-openbsd",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
    "systemd-sysv",
    "udev",
)
APT_OPTIONS = (
    'APT::Install-Recommends "false"',
    'Acquire::Languages "none"',
)
DPKG_OPTIONS = (
    "force-unsafe-io",  # a build that is interrupted is thrown away
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/i18n/*",
)
HOST_APT_KEYS = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::http::Proxy", "Acquire::https::Proxy")
"""What the image's apt must know of the host's configuration to reach the same mirror."""

KEYRINGS = Path("/usr/share/keyrings")
TAIL_LINES = 15
STOP_LIMIT = 30.0
"""Seconds an interrupted tool has to tidy up."""


def inputs() -> bytes:
    """Return everything that decides what a build makes, as bytes to be hashed; no time, host or mirror in it."""
    parts = [SUITE, *PACKAGES, *APT_OPTIONS, *DPKG_OPTIONS]
    content = "\n".join(parts).encode()
    for path in [CUSTOMIZE, *sorted(path for path in OVERLAY.rglob("*") if path.is_file())]:
        content += f"\n{path.relative_to(HERE)}\n".encode() + path.read_bytes()
    return content


def mirror_of(targets: str, release: str) -> str:
    """Return the address of the main archive in the output of `apt-get indextargets`, one `uri|release` a line.

    Raises LabError if none serves `release`: a host without a configured archive cannot build.
    """
    for line in targets.splitlines():
        uri, _, name = line.partition("|")
        if name == release:
            return uri
    raise LabError(f"apt on this host has no package source for {release}: see /etc/apt/sources.list.d")


def host_mirror() -> str:
    """Return the package mirror that this host itself installs from."""
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    listing = ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)", "Created-By: Packages"]
    return mirror_of(subprocess.run(listing, check=True, capture_output=True, text=True).stdout, release)


def host_apt_options() -> list[str]:
    """Return the host's own proxy and date-checking settings, in apt's syntax."""
    dump = subprocess.run(["apt-config", "dump", *HOST_APT_KEYS], check=True, capture_output=True, text=True).stdout
    return [line.removesuffix(";") for line in dump.splitlines() if not line.endswith(' "";')]


def command(
    root: Path, *, mirror: str, apt_options: Sequence[str], suite: str, packages: Sequence[str], customize: Path
) -> list[str]:
    """Return the mmdebstrap call that fills `root`."""
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        "--format=directory",
        "--architectures=amd64",
        "--components=main",
        f"--keyring={KEYRINGS}",
        *(f"--aptopt={option}" for option in (*APT_OPTIONS, *apt_options)),
        *(f"--dpkgopt={option}" for option in DPKG_OPTIONS),
        f"--include={','.join(packages)}",
        f"--customize-hook={customize}",
        suite,
        str(root),
        mirror,
    ]


def run_logged(argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a build tool with its output in `log`; raise LabError with the output's last lines if it fails.

    Whatever interrupts the wait ends the tool and its children too, gently first: mmdebstrap then unmounts.
    """
    if shutil.which(argv[0]) is None:
        raise LabError(f"{argv[0]} is not installed")
    with log.open("ab") as output:
        process = subprocess.Popen(
            # The kernel ends the tool if this process is killed, who could not do it then.
            ["setpriv", "--pdeathsig", "TERM", *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )
        try:
            code = process.wait()
        except BaseException:
            _end_group(process)
            raise
    if code:
        tail = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        raise LabError("\n".join([f"{argv[0]} failed ({code}); its last lines:", *(f"  {line}" for line in tail)]))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def build(root: Path, *, log: Path) -> None:
    """Install the VM image's root file system into the (absent) directory `root`; raises LabError if that fails."""
    install(root, suite=SUITE, packages=PACKAGES, overlay=OVERLAY, customize=CUSTOMIZE, log=log)


def install(root: Path, *, suite: str, packages: Sequence[str], overlay: Path, customize: Path, log: Path) -> None:
    """Install a release with these packages into the (absent) directory `root`; raises LabError if that fails."""
    if os.geteuid() != 0:
        raise LabError("building the lab's images needs root: file owners and device nodes are made as they are")
    # Nothing else of the caller's environment: a PYTHONDONTWRITEBYTECODE, say, would slow every boot.
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "LAB_ROOTFS": str(overlay),
        # Ours is made by lab/initrd.py; the distribution's takes ten seconds to make and more to boot.
        "INITRD": "No",
    }
    argv = command(
        root,
        mirror=host_mirror(),
        apt_options=host_apt_options(),
        suite=suite,
        packages=packages,
        customize=customize,
    )
    run_logged(argv, log=log, env=env)
