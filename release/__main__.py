"""`python -m release`: build, list, sign and check the files of a release. `make dist` does all that needs no key."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from release import inventory, packages, platforms, sbom, signing, singlefile, tree, trial, wheels
from release.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Sequence

DIST = tree.ROOT / "dist"
CACHE = tree.ROOT / ".wheels"
DOCUMENT = "cloud-init.yaml"


def build(target: Path, names: Sequence[str]) -> None:
    """Write wheel, source distribution, a single file for each platform, the list of parts, and the list of files."""
    shutil.rmtree(target, ignore_errors=True)
    epoch = tree.epoch()
    wheel, sdist = packages.build(tree.ROOT, target, epoch=epoch)
    packages.check_wheel(wheel)
    packages.check_sdist(sdist)
    for platform in map(platforms.named, names):
        file = target / singlefile.name(tree.version(), platform)
        singlefile.build(file, wheels=[wheel, *wheels.fetch(platform, CACHE)], platform=platform)
    (target / f"polis-{tree.version()}.cdx.json").write_text(sbom.text(epoch=epoch), encoding="utf-8")
    shutil.copyfile(tree.ROOT / "polis" / "cloudinit" / DOCUMENT, target / DOCUMENT)
    inventory.write(target)
    for path in sorted(target.iterdir()):
        print(f"{path.stat().st_size:>11,}  {path.name}")


def build_again(target: Path, names: Sequence[str]) -> None:
    """Build from a copy of the tree in another directory; raise ReleaseError if any file is another."""
    first = inventory.read(target / inventory.SUMS)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "another" / "tree"
        for path in tree.tracked():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree.ROOT / path, copy / path)
        other = Path(scratch) / "dist"
        wheel, _ = packages.build(copy, other, epoch=tree.epoch())
        for platform in map(platforms.named, names):
            file = other / singlefile.name(tree.version(), platform)
            singlefile.build(file, wheels=[wheel, *wheels.fetch(platform, CACHE)], platform=platform)
        again = inventory.read(inventory.write(other))
    for name, sha256 in again.items():
        if first.get(name) != sha256:
            raise ReleaseError(f"{name} is not reproducible: another build of the same tree gives other bytes")
    print(f"reproducible: {', '.join(again)}")


def use(target: Path) -> None:
    """Install and run each file that can be run on this machine, as a user would."""
    inventory.verify(target)
    with tempfile.TemporaryDirectory() as scratch:
        for pattern in ("*.whl", "*.tar.gz"):
            for file in target.glob(pattern):
                trial.package(file, Path(scratch))
                print(f"works: {file.name}")
        file = target / singlefile.name(tree.version(), platforms.here())
        trial.single_file(file, Path(scratch))
        print(f"works: {file.name}")


def parser() -> argparse.ArgumentParser:
    """Return what takes the words of a command line."""
    found = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    found.add_argument("--directory", type=Path, default=DIST, help="where the files are (dist)")
    commands = found.add_subparsers(dest="command", required=True)
    for name, words in (("build", "write all files"), ("again", "build anew, and compare")):
        command = commands.add_parser(name, help=words)
        command.add_argument("--platform", nargs="+", default=["here"], help="platforms of single files; or all")
    commands.add_parser("use", help="install each file somewhere clean, and run it")
    commands.add_parser("list", help="write SHA256SUMS anew")
    commands.add_parser("sign", help=f"sign SHA256SUMS with the key in {signing.VARIABLE}")
    command = commands.add_parser("verify", help="check every file, and the signature")
    command.add_argument("--key", type=Path, help="file of the public key; without it no signature is checked")
    commands.add_parser("keys", help="print a new private key and its public key")
    return found


def main() -> int:
    """Run a command; return its exit code."""
    options = parser().parse_args()
    target: Path = options.directory
    try:
        if options.command in ("build", "again"):
            names = list(platforms.PLATFORMS) if options.platform == ["all"] else options.platform
            (build if options.command == "build" else build_again)(target, names)
        elif options.command == "use":
            use(target)
        elif options.command == "list":
            inventory.write(target)
        elif options.command == "sign":
            print(signing.sign(target, os.environ))
        elif options.command == "verify":
            if options.key is not None:
                signing.verify(target, options.key.read_text(encoding="ascii"))
            print("as released: " + ", ".join(inventory.verify(target)))
        else:
            print("private: {}\npublic:  {}".format(*signing.generate()))
    except (ReleaseError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
