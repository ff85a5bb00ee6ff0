"""The files that a workspace's provisioning downloads: Docker's package repository and Sysbox, as stand-ins.

`.lab/packages/tree-<hash>/` is what is served: `docker/ubuntu` signed by the lab's key, `docker-foreign/ubuntu` the
same signed by a key that nobody trusts, `sysbox`. `.lab/packages/debs-<hash>/` are the distribution's packages in it,
which take longer to make and change less often.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lab import aptfetch, aptindex, deb, dockerpackages, signing, sysbox
from lab.placing import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HERE = Path(__file__).resolve().parent
PARTIAL = ".partial-"

KEYS = {"docker": "Polis lab (packages) <lab@localhost>", "docker-foreign": "Nobody <nobody@localhost>"}
"""Subtree → the name in the key that signs it."""
REPOSITORY = "ubuntu"
POOL = f"dists/{aptindex.SUITE}/pool/{aptindex.COMPONENT}/{aptindex.ARCHITECTURE}"

DEBS_SOURCES = ("aptfetch.py", "deb.py", "dockerpackages.py", "rootfs_build.py")
TREE_SOURCES = ("aptindex.py", "mirror.py", "signing.py", "sysbox.py")


def docker_key(directory: Path) -> Path:
    """Return where the armoured public key of the package repository is."""
    return directory / "docker.asc"


def ensure(directory: Path, *, say: Callable[[str], None]) -> Path:
    """Return the directory to be served, of today's inputs; build what the cache has not.

    The caller holds the lab's lock. What fails or is interrupted leaves the cache as it was. Raises LabError.
    """
    packages = directory / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    for left in packages.glob(f"{PARTIAL}*"):
        shutil.rmtree(left)
    secrets = {tree: directory / "keys" / f"{tree}.key" for tree in KEYS}
    for name, secret in secrets.items():
        signing.ensure(secret, name=KEYS[name])
    debs = packages / f"debs-{debs_fingerprint()}"
    if not debs.is_dir():
        started = time.monotonic()
        say("fetching and repacking Docker's packages (some seconds)")
        with _whole(debs) as work:
            repack(work)
        say(f"repacked in {time.monotonic() - started:.0f} s")
    tree = packages / f"tree-{tree_fingerprint(debs, secrets)}"
    if not tree.is_dir() or not docker_key(directory).is_file():
        shutil.rmtree(tree, ignore_errors=True)
        with _whole(tree) as work:
            place(docker_key(directory), plant(work, debs, secrets)["docker"])
    return tree


def debs_fingerprint() -> str:
    """Return the name of the set of packages that today's inputs make: 16 hexadecimal digits."""
    return _digest(*((HERE / name).read_bytes() for name in DEBS_SOURCES))


def tree_fingerprint(debs: Path, secrets: Mapping[str, Path]) -> str:
    """Return the name of the tree that these packages, these keys and today's code make."""
    own = [(HERE / name).read_bytes() for name in TREE_SOURCES]
    keys = [hashlib.sha256(secret.read_bytes()).digest() for secret in secrets.values()]
    return _digest(debs.name.encode(), *own, *keys)


def repack(into: Path) -> None:
    """Put the distribution's packages, as the lab serves them, into a directory; raises LabError."""
    with tempfile.TemporaryDirectory(dir=into) as downloads:
        for path in aptfetch.fetch(dockerpackages.DEBIAN, Path(downloads)):
            # An epoch is spelt %3a in apt's file names, and an address would have to spell that %253a.
            name = path.name.replace("%3a", ".")
            repacked = deb.repack(path.read_bytes(), dropped=dockerpackages.is_dropped, fields=dockerpackages.RIVALRY)
            (into / name).write_bytes(repacked)


def plant(root: Path, debs: Path, secrets: Mapping[str, Path]) -> dict[str, bytes]:
    """Make the tree below `root`; return the armoured public key of each signed subtree. Raises LabError."""
    place(root / "sysbox" / sysbox.NAME, sysbox.build())
    own = dockerpackages.build()
    content = {path.name: path.read_bytes() for path in debs.glob("*.deb")} | own
    index = aptindex.packages({f"{POOL}/{name}": data for name, data in content.items()})
    listing = aptindex.listing(index)
    release = aptindex.release(listing, date=datetime.now(tz=UTC))
    public = {}
    for tree, secret in secrets.items():
        repository = root / tree / REPOSITORY
        suite = repository / "dists" / aptindex.SUITE
        for name, data in listing.items():
            place(suite / name, data)
        for name, data in own.items():
            place(repository / POOL / name, data)
        for path in debs.glob("*.deb"):
            os.link(path, repository / POOL / path.name)
        with signing.signer(secret) as signer:
            place(suite / "InRelease", signer.clearsign(release))
            place(suite / "Release", release)
            place(suite / "Release.gpg", signer.detach(release))
            public[tree] = signer.public
    return public


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Give an empty directory that becomes `target` if all goes well, and vanishes if not."""
    work = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=target.parent))
    try:
        work.chmod(0o755)
        yield work
        os.sync()  # the rename must not reach the disk before what it names
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
