"""`transfer`: files between this machine and one guest, over SFTP as ubuntu."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import BinaryIO

from tests.fakes.multipass import printing
from tests.fakes.multipass.daemon import Daemon, Refused
from tests.fakes.multipass.guest import Guest, GuestFileError

LOG = "[2026-11-23T02:05:51.777] [error] [sftp] "


def run(daemon: Daemon, words: list[str]) -> int:
    flags = {word for word in words if word in ("-r", "--recursive", "-p", "--parents")}
    sources = [word for word in words if word not in flags]
    target = sources.pop()
    recursive, parents = bool(flags & {"-r", "--recursive"}), bool(flags & {"-p", "--parents"})
    if _instance(target):
        name, path = _split(target)
        guest = _reach(daemon, name)
        outcomes = [_push(guest, source, path, recursive=recursive, parents=parents) for source in sources]
    elif any(_instance(source) for source in sources):
        outcomes = []
        for source in sources:
            name, path = _split(source)
            outcomes.append(_pull(_reach(daemon, name), path, target, recursive=recursive))
    else:
        raise Refused("An instance name is needed for either source or destination\n", 1)
    return 0 if all(outcomes) else 2


def _instance(word: str) -> bool:
    return ":" in word


def _split(word: str) -> tuple[str, str]:
    name, _, path = word.partition(":")
    return name, path or "."


def _reach(daemon: Daemon, name: str) -> Guest:
    daemon.admit("transfer")
    with daemon.world.machines() as machines:
        daemon.settle(machines)
        machine = daemon.known(machines, "transfer", name)
        state = daemon.state(machine)
        if state == "Unknown":
            raise Refused("transfer failed: Cannot retrieve credentials in unknown state\n")
        if state != "Running":
            raise Refused(f'transfer failed: instance "{name}" is not running\n')
        return daemon.guest(machine)


def _told(error: GuestFileError | str, *, logged: bool) -> bool:
    printing.err(f"{LOG if logged else ''}{error}\n")
    return False


def _push(guest: Guest, source: str, path: str, *, recursive: bool, parents: bool) -> bool:
    if source == "-":
        try:
            guest.put(path, printing.stdin(), None)
        except GuestFileError as error:
            return _told(error, logged=False)
        return True
    local = Path(source)
    if not local.exists():
        return _told(f"cannot access {source}: No such file or directory", logged=True)
    if local.is_dir() and not recursive:
        return _told(f"omitting local directory {source}: recursive mode not specified", logged=True)
    if _is(guest, "-d", path):
        path = f"{path}/{local.name}"  # into what is there: the second time it nests
    if parents:
        _silent(guest, ["mkdir", "-p", "--", path.rpartition("/")[0] or "."])
    try:
        if local.is_dir():
            _push_tree(guest, local, path)
        else:
            with local.open("rb") as file:
                guest.put(path, file, local.stat().st_mode & 0o777)
    except GuestFileError as error:
        return _told(error, logged=True)
    return True


def _push_tree(guest: Guest, local: Path, path: str) -> None:
    if _silent(guest, ["mkdir", "--", path]) != 0:
        raise GuestFileError(f"cannot create remote directory {path}: SFTP server: Permission denied")
    for each in sorted(local.iterdir()):
        target = f"{path}/{each.name}"
        if each.is_symlink():
            _silent(guest, ["ln", "-s", "--", str(each.readlink()), target])
        elif each.is_dir():
            _push_tree(guest, each, target)
        else:
            with each.open("rb") as file:
                guest.put(target, file, each.stat().st_mode & 0o777)
    _silent(guest, ["chmod", f"{local.stat().st_mode & 0o777:o}", "--", path])


def _pull(guest: Guest, path: str, target: str, *, recursive: bool) -> bool:
    if target == "-":
        try:
            guest.get(path, printing.stdout())
        except GuestFileError as error:
            return _told(error, logged=False)
        return True
    local = Path(target)
    if local.is_dir():
        local /= path.rstrip("/").rpartition("/")[2]
    if recursive and _is(guest, "-d", path):
        packed = io.BytesIO()
        guest.run(["tar", "-C", path, "-cf", "-", "."], stdin=None, stdout=packed, stderr=io.BytesIO(), limit=None)
        packed.seek(0)
        with tarfile.open(fileobj=packed) as archive:
            archive.extractall(local, filter="tar")
        return True
    try:
        with local.open("wb") as file:  # there before it is known whether there is anything to write to it
            guest.get(path, file)
    except GuestFileError as error:
        return _told(error, logged=True)
    return True


def _is(guest: Guest, kind: str, path: str) -> bool:
    return _silent(guest, ["test", kind, path]) == 0


def _silent(guest: Guest, argv: list[str]) -> int:
    nowhere: BinaryIO = io.BytesIO()
    return guest.run(argv, stdin=None, stdout=nowhere, stderr=io.BytesIO(), limit=None)
