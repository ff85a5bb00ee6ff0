"""A guest that is a real VM, by the QEMU engine: with it, the whole of `polis up` goes through the Multipass driver.

The image is the lab's, whatever `launch` was told: POLIS_FAKE_MULTIPASS_IMAGE names its descriptor. Booting takes a
process of its own, for neither the daemon nor a client that is killed may end it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import psutil

from polis import config
from polis.assembly import image_of
from polis.drivers.base import InstanceState, LaunchRequest
from polis.drivers.qemu.driver import QemuDriver
from polis.errors import PolisError
from tests.fakes.multipass.guest import GuestFileError, Makeup

BOOT_LIMIT = 900.0
"""Seconds for sshd to come up; an emulated machine beside others takes minutes."""

ANSWER_LIMIT = 20.0
ROOT = Path(__file__).parents[3]
FRESH = 2.0
"""Seconds for which an answer of the guest is believed: a waiting client asks a hundred times a second."""


class VmGuest:
    def __init__(self, makeup: Makeup) -> None:
        self.makeup = makeup
        self.directory = makeup.directory
        digest = hashlib.sha256(str(makeup.directory).encode()).hexdigest()[:8]
        self.driver = QemuDriver(
            data=self.directory / "data",
            cache=self.directory.parent / "cache",
            runtime=Path(tempfile.gettempdir()) / f"polis-fake-{digest}",
        )

    # ---- power

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "makeup.json").write_text(json.dumps({**asdict(self.makeup), "directory": ""}))
        (self.directory / "answered").unlink(missing_ok=True)
        with (self.directory / "boot.log").open("ab") as log:
            boot = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.multipass.vm", str(self.directory)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.directory / "boot.pid").write_text(str(boot.pid))

    def boot(self) -> None:
        """Create it, or switch it on, and wait until it answers. Raises PolisError."""
        self.driver.launch(
            request=LaunchRequest(
                name=self.makeup.name,
                owner="multipass",
                image=image_of(_image()),
                cpus=self.makeup.cpus,
                memory=config.size(self.makeup.memory),
                disk=config.size(self.makeup.disk),
                user_data=self.user_data(),
                timeout=BOOT_LIMIT,
            )
        )

    def is_on(self) -> bool:
        return self._is_booting() or self._runs()

    def answers_since(self) -> float | None:
        path = self.directory / "answered"
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime < FRESH:
                return float(path.read_text())
        if self._is_booting() or not self._runs() or not self._answers():
            path.unlink(missing_ok=True)
            return None
        since = path.read_text() if path.exists() else str(time.time())
        path.write_text(since)
        return float(since)

    def stop(self) -> None:
        self.driver.stop(name=self.makeup.name)

    def kill(self) -> None:
        self._end_booting()
        self.driver.stop(name=self.makeup.name, force=True)

    def destroy(self) -> None:
        self._end_booting()
        self.driver.delete(name=self.makeup.name)

    # ---- commands and files

    def run(
        self, argv: Sequence[str], *, stdin: BinaryIO | None, stdout: BinaryIO, stderr: BinaryIO, limit: int | None
    ) -> int:
        data = stdin.read(limit if limit is not None else -1) if stdin is not None else b""
        words = list(argv)
        if data:
            self._put("/tmp/.stdin", data, 0o600)  # noqa: S108 -- in the guest
            words = ["sh", "-c", 'exec "$@" < /tmp/.stdin', "sh", *words]

        def tell(line: str) -> None:
            stdout.write(line.encode() + b"\n")
            stdout.flush()

        try:
            done = self.driver.exec(name=self.makeup.name, argv=words, timeout=BOOT_LIMIT, on_line=tell)
        except PolisError as error:
            stderr.write(f"exec failed: ssh connection failed: '{error}'\n".encode())
            return 2
        stderr.write(done.stderr.encode())
        stderr.flush()
        return done.code

    def interact(self, argv: Sequence[str]) -> int:
        return self.driver.shell(name=self.makeup.name, argv=argv)

    def put(self, path: str, source: BinaryIO, mode: int | None) -> None:
        self._put(path, source.read(), mode if mode is not None else 0o644)

    def get(self, path: str, sink: BinaryIO) -> None:
        with tempfile.TemporaryDirectory() as here:
            target = Path(here) / "file"
            try:
                self.driver.pull(name=self.makeup.name, source=path, target=target)
            except PolisError as error:
                raise GuestFileError(f"cannot open remote file {path}: {error}") from error
            sink.write(target.read_bytes())

    def boot_id(self) -> str:
        argv = ["cat", "/proc/sys/kernel/random/boot_id"]
        return self.driver.exec(name=self.makeup.name, argv=argv, timeout=ANSWER_LIMIT).stdout.strip()

    def user_data(self) -> str:
        """Return the document with what Multipass' vendor data adds where the user has no such key."""
        text = self.makeup.user_data
        return text if re.search(r"^packages:", text, re.MULTILINE) else f"{text}packages: [pollinate]\n"

    # ---- parts

    def _put(self, path: str, data: bytes, mode: int) -> None:
        absolute = path if path.startswith("/") else f"/home/ubuntu/{path}"
        with tempfile.TemporaryDirectory() as here:
            source = Path(here) / "file"
            source.write_bytes(data)
            try:
                self.driver.push(name=self.makeup.name, source=source, target=absolute, mode=mode)
            except PolisError as error:
                raise GuestFileError(f"cannot open remote file {path}: {error}") from error

    def _runs(self) -> bool:
        found = self.driver.find(name=self.makeup.name)
        return found is not None and found.state is InstanceState.RUNNING

    def _answers(self) -> bool:
        try:
            return self.driver.exec(name=self.makeup.name, argv=["true"], timeout=ANSWER_LIMIT).ok
        except PolisError:
            return False

    def _is_booting(self) -> bool:
        return self._booting() is not None

    def _booting(self) -> psutil.Process | None:
        with contextlib.suppress(FileNotFoundError, ValueError, psutil.Error):
            process = psutil.Process(int((self.directory / "boot.pid").read_text()))
            if str(self.directory) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _end_booting(self) -> None:
        process = self._booting()
        if process is not None:
            process.kill()
            with contextlib.suppress(psutil.Error):
                process.wait(10)


def _image() -> config.ImageSpec:
    path = Path(os.environ["POLIS_FAKE_MULTIPASS_IMAGE"])
    return config.ImageSpec.model_validate(json.loads(path.read_text())).relative_to(path.parent)


def main(directory: Path) -> int:
    """Boot the guest of a directory."""
    entry = json.loads((directory / "makeup.json").read_text())
    try:
        VmGuest(Makeup(**{**entry, "directory": directory})).boot()
    except PolisError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
