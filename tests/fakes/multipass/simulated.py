"""A guest without a VM: its files are a directory, its commands run on this machine, its paths are put in their place.

It has what the contract suite and the driver ask of a guest, not more: `runcmd` and packages are not run, and `sudo`
gives no power. As root, commands run without root's capabilities, so that modes count for them as they do for ubuntu.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tests.fakes.multipass.guest import GuestFileError, Makeup

MARK = "POLIS_FAKE_GUEST"
"""In the environment of every process of a guest: its directory."""

PLACES = re.compile(r"(?<![\w./}-])/(?=(?:etc|var|tmp|home|root|opt|run|srv|proc/sys/kernel/random)(?![\w-]))")
ROOT = Path(__file__).parents[3]


class SimulatedGuest:
    def __init__(self, makeup: Makeup) -> None:
        self.makeup = makeup
        self.directory = makeup.directory
        self.root = makeup.directory / "root"

    # ---- power

    def start(self) -> None:
        if not self.root.exists():
            self._install()
        self._boot()

    def reboot(self) -> None:
        self._boot()
        end_processes(self.directory)

    def is_on(self) -> bool:
        return bool(self._power())

    def answers_since(self) -> float | None:
        up = self._power().get("up")
        return float(up) if up is not None and time.time() >= up else None

    def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        (self.directory / "power.json").unlink(missing_ok=True)
        end_processes(self.directory)

    def destroy(self) -> None:
        self.kill()
        for place in (self.root / "etc", self.root / "var"):
            with contextlib.suppress(FileNotFoundError):
                place.chmod(0o755)
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---- commands and files

    def run(
        self, argv: Sequence[str], *, stdin: BinaryIO | None, stdout: BinaryIO, stderr: BinaryIO, limit: int | None
    ) -> int:
        child = subprocess.Popen(
            self._line(argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **self._surroundings(),
        )
        pumps = [
            threading.Thread(target=_pump, args=(child.stdout, stdout), daemon=True),
            threading.Thread(target=_pump, args=(child.stderr, stderr), daemon=True),
        ]
        for pump in pumps:
            pump.start()
        if stdin is not None:
            feed = threading.Thread(target=_feed, args=(stdin, child.stdin, limit), daemon=True)
            feed.start()
            if stat.S_ISREG(os.fstat(stdin.fileno()).st_mode):
                pumps.append(feed)  # a file ends; a pipe or terminal may stay open for ever
        for pump in pumps:
            pump.join()
        return _status(child.wait())

    def interact(self, argv: Sequence[str]) -> int:
        line = self._line(argv) if argv else ["bash", "-l"]
        return _status(subprocess.run(line, check=False, **self._surroundings()).returncode)

    def put(self, path: str, source: BinaryIO, mode: int | None) -> None:
        script = 'cat > "$1" && { [ -z "$2" ] || chmod "$2" "$1"; }'
        wanted = "" if mode is None else f"{mode:o}"
        self._sftp(path, ["sh", "-c", script, "put", path, wanted], stdin=source)

    def get(self, path: str, sink: BinaryIO) -> None:
        self._sftp(path, ["sh", "-c", 'cat < "$1"', "get", path], stdout=sink)

    def boot_id(self) -> str:
        return str(self._power()["boot_id"])

    def user_data(self) -> str:
        return (self.directory / "user-data").read_text()

    # ---- parts

    def _sftp(self, path: str, argv: list[str], *, stdin: BinaryIO | None = None, stdout: Any = None) -> None:
        done = subprocess.run(
            self._line(argv),
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
            **self._surroundings(),
        )
        if done.returncode == 0:
            return
        said = done.stderr.decode()
        if "irectory nonexistent" in said or ("No such file" in said and stdin is not None):
            raise GuestFileError("remote target does not exist")
        reason = next((word for word in ("Permission denied", "No such file") if word in said), "Failure")
        raise GuestFileError(f"cannot open remote file {path}: SFTP server: {reason}")

    def _line(self, argv: Sequence[str]) -> list[str]:
        placed = [PLACES.sub(f"{self.root}/", word) for word in argv]
        powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"] if os.geteuid() == 0 else []
        return [*powerless, "bash", "-c", shlex.join(placed)]

    def _surroundings(self) -> dict[str, Any]:
        home = self.root / "home" / "ubuntu"
        path = f"{self.directory / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        env = {"HOME": str(home), "PATH": path, "LANG": "C.UTF-8", "USER": "ubuntu", MARK: str(self.directory)}
        return {"env": env, "cwd": home, "start_new_session": True}

    def _power(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((self.directory / "power.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return state

    def _boot(self) -> None:
        boot_id = str(uuid.uuid4())
        (self.root / "proc/sys/kernel/random/boot_id").write_text(boot_id + "\n")
        fresh = self.directory / "power.new"
        fresh.write_text(json.dumps({"boot_id": boot_id, "up": time.time() + self.makeup.boot}))
        fresh.replace(self.directory / "power.json")

    def _install(self) -> None:
        for place in ("etc", "var/tmp", "var/lib", "tmp", "home/ubuntu", "run", "opt", "proc/sys/kernel/random"):
            (self.root / place).mkdir(parents=True)
        (self.root / "etc/passwd").write_text("ubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n")
        (self.directory / "user-data").write_text(self.makeup.user_data)
        (self.directory / "makeup.json").write_text(json.dumps({**vars(self.makeup), "directory": str(self.directory)}))
        self._tools()
        status = self._cloud_init()
        (self.directory / "cloud-init.json").write_text(json.dumps(status))
        for place in ("etc", "var"):
            (self.root / place).chmod(0o555)

    def _tools(self) -> None:
        tools = self.directory / "bin"
        tools.mkdir()
        size = int(self.makeup.disk.rstrip("GMKB")) * 1024**3
        texts = {
            "hostname": f"echo {self.makeup.name}",
            "whoami": "echo ubuntu",
            "nproc": f"echo {self.makeup.cpus}",
            "df": f"printf '1B-blocks\\n{int(size * 0.95)}\\n'",
            "sync": ":",
            "sudo": 'while :; do case "$1" in -u) shift 2;; -*) shift;; *) break;; esac; done; exec "$@"',
        }
        python = f"exec {shlex.quote(sys.executable)} -S -E {shlex.quote(str(Path(__file__).parent / 'tool.py'))}"
        for name in ("pgrep", "pkill", "systemctl", "reboot", "poweroff", "cloud-init"):
            texts[name] = f'{python} {name} "$@"'
        for name, text in texts.items():
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)

    def _cloud_init(self) -> dict[str, Any]:
        """Do what `write_files` says, as cloud-init understands the document."""
        from tests.fakes.multipass.documents import yaml

        document = yaml().safe_load(self.makeup.user_data) or {}
        for entry in document.get("write_files", []):
            content = entry.get("content", "")
            if not isinstance(content, str):
                error = (
                    f"('write-files', AttributeError(\"'{type(content).__name__}' object has no attribute 'encode'\"))"
                )
                return {"status": "error", "errors": [error]}
            target = self.root / entry["path"].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
            mode = entry.get("permissions", 0o644)
            target.chmod(int(str(mode).removeprefix("0o"), 8) if isinstance(mode, str) else mode)
        return {"status": "done", "errors": []}


def processes(directory: Path) -> list[int]:
    """Return the processes of a guest."""
    mark = f"{MARK}={directory}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def end_processes(directory: Path) -> None:
    for number in processes(directory):
        if number != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def _status(code: int) -> int:
    return 255 if code < 0 else code


def _pump(source: BinaryIO, sink: BinaryIO) -> None:
    with source:
        while chunk := os.read(source.fileno(), 65536):
            sink.write(chunk)
            sink.flush()


def _feed(source: BinaryIO, sink: BinaryIO, limit: int | None) -> None:
    left = sys.maxsize if limit is None else limit
    with contextlib.suppress(BrokenPipeError), sink:
        while left and (chunk := os.read(source.fileno(), min(left, 65536))):
            sink.write(chunk)
            sink.flush()
            left -= len(chunk)
