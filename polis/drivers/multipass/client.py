"""Multipass, verb for verb: argument lists, limits, typed answers, typed failures. No policy.

Options stand before positional arguments and `--` before the guest's command; stdin is closed unless a verb needs it;
stdout of everything but `list`, `version`, `info` and `exec` is a spinner, so it is not looked at. A call that does not
end in time is a failure like another one (`no-answer`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from polis import process
from polis.drivers.multipass import records, table
from polis.drivers.multipass.failures import Failure, ToolFailure, classify, words
from polis.drivers.multipass.host import BINARY, INSTALL
from polis.drivers.toolcalls import Unreadable
from polis.errors import DriverMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polis.drivers.multipass.host import Host
    from polis.process import Completed, Runner

Record = TypeVar("Record")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What `launch` is told. `memory` and `disk` are sizes as Multipass writes them; `wait` is in seconds."""

    name: str
    image: str
    cpus: int
    memory: str
    disk: str
    user_data: str
    wait: int


class Client:
    """The command line client. Every method raises ToolFailure, and DriverMissing if there is no Multipass."""

    def __init__(self, host: Host, *, run: Runner = process.run) -> None:
        self.host = host
        self._run = run

    def version(self, *, limit: float) -> records.Versions:
        """Return the versions; ends well without a daemon too."""
        done = self._call("version", "--format", "json", limit=limit)
        return self._read(done, records.versions)

    def list(self, *, limit: float) -> tuple[records.Listed, ...]:
        """Return all instances, deleted ones too, but none whose image is still being prepared.

        Not `info`: one instance that cannot be reached over ssh makes that fail as a whole, for all (#1474).
        """
        done = self._call("list", "--format", "json", limit=limit)
        return self._read(done, records.listed)

    def info(self, name: str, *, limit: float) -> dict[str, Any]:
        """Return the details of one instance; asks the guest over ssh."""
        done = self._call("info", "--format", "json", name, limit=limit)
        return self._read(done, lambda text: records.details(text, name))

    def launch(self, order: Order, *, limit: float) -> None:
        """Create an instance; returns when cloud-init has ended, well or not.

        The document goes through stdin, which is read to its end on every platform: no file that a confined client
        could not see, none that would have to be removed.
        """
        self._call(
            "launch",
            *("--name", order.name, "--cpus", str(order.cpus), "--memory", order.memory, "--disk", order.disk),
            *("--timeout", str(order.wait), "--cloud-init", "-", order.image),
            limit=limit,
            stdin=order.user_data.encode(),
        )

    def start(self, name: str, *, wait: int, limit: float) -> None:
        """Switch an instance on; returns when ssh answers."""
        self._call("start", "--timeout", str(wait), name, limit=limit)

    def stop(self, name: str, *, limit: float, force: bool = False) -> None:
        """Press the power button, or pull the plug."""
        self._call("stop", *(["--force"] if force else []), name, limit=limit)

    def cancel_shutdown(self, name: str, *, limit: float) -> None:
        """Call off a delayed shutdown."""
        self._call("stop", "--cancel", name, limit=limit)

    def purge(self, name: str, *, limit: float) -> None:
        """Delete this instance for good; never the verb `purge`, which takes those of everybody."""
        self._call("delete", "--purge", name, limit=limit)

    def probe_name(self, name: str, image: str, *, limit: float) -> None:
        """Launch an image that does not exist: how that fails tells whether the name is taken."""
        self._call("launch", "--name", name, image, limit=limit)

    def refresh_images(self, *, limit: float) -> None:
        """Fetch the lists of images anew."""
        self._call("find", "--force-update", limit=limit)

    def exec(
        self, name: str, argv: Sequence[str], *, limit: float, on_line: Callable[[str], None] | None = None
    ) -> Completed:
        """Run a guest command, whose exit code must not be 4: 1.16 would run it again, for ever (#4428).

        Raises no ToolFailure, for a code may be the command's own as well as the client's; ProcessTimeout after
        `limit` seconds. `-n`: without it the client looks for the host's directory among the mounts first.
        """
        return self._raw(self.exec_argv(name, argv), limit=limit, on_line=on_line)

    def send(self, name: str, source: Path, target: str, *, limit: float) -> None:
        """Copy a file of this machine to a path of the guest."""
        if self.host.streams:
            self._call("transfer", "-", f"{name}:{target}", limit=limit, stdin=source)
        else:
            self._call("transfer", _windows(source), f"{name}:{target}", limit=limit)

    def fetch(self, name: str, source: str, target: Path, *, limit: float) -> None:
        """Copy a file of the guest to a path of this machine; what a failure leaves there is the caller's to remove."""
        if self.host.streams:
            self._call("transfer", f"{name}:{source}", "-", limit=limit, stdout_to=target)
        else:
            self._call("transfer", f"{name}:{source}", _windows(target), limit=limit)

    def exec_argv(self, name: str, argv: Sequence[str]) -> Sequence[str]:
        """Return the command line of `exec`."""
        return [BINARY, "exec", "-n", name, "--", *argv]

    def shell_argv(self, name: str) -> Sequence[str]:
        """Return the command line of `shell`."""
        return [BINARY, "shell", name]

    def _call(
        self, *argv: str, limit: float, stdin: bytes | Path | None = None, stdout_to: Path | None = None
    ) -> Completed:
        try:
            done = self._raw([BINARY, *argv], limit=limit, stdin=stdin, stdout_to=stdout_to)
        except process.ProcessTimeout as expired:
            said = words(expired.completed.stderr) or f"no answer to `multipass {argv[0]}` within {limit:.0f} s"
            raise ToolFailure(Failure(table.NO_ANSWER, argv[0], expired.completed.code, said)) from expired
        if not done.ok:
            raise ToolFailure(classify(argv[0], done))
        return done

    def _raw(self, argv: Sequence[str], *, limit: float, **streams: Any) -> Completed:
        try:
            # The confined client fails in a directory that it cannot see; its home is always there.
            return self._run(argv, timeout=limit, cwd=_home(), **streams)
        except DriverMissing as error:
            hint = self.host.pick(INSTALL)
            raise DriverMissing("Multipass is not installed", cause=error.message, hint=hint) from error

    def _read(self, done: Completed, parse: Callable[[str], Record]) -> Record:
        try:
            return parse(done.stdout)
        except Unreadable as error:
            said = f"{error}: {words(done.stdout)[:200]}"
            raise ToolFailure(Failure(table.GARBLED, done.argv[1], done.code, said)) from error


def _home() -> Path | None:
    """Return the user's home, or None where there is none: a missing directory would look like a missing tool."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home if home.is_dir() else None


def _windows(path: Path) -> str:
    # Only `C:\\` is known as a drive; `C:/x` would be a file of the instance C.
    return str(path).replace("/", "\\") if path.drive else str(path)
