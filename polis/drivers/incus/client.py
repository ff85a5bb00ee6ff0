"""The tool verb for verb: argument lists, limits, typed answers, typed failures. No policy.

What is read is read with `query`, whose answers are the server's own JSON; what is done is done with the verbs, which
wait for the server's operation. stdin is closed unless a verb needs it. A call that does not end in time is a failure
like another one (`no-answer`).
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from polis import process
from polis.drivers.incus import records, table
from polis.drivers.incus.failures import Failure, ToolFailure, classify, words
from polis.drivers.toolcalls import Unreadable
from polis.errors import DriverMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from polis.drivers.incus.birth import Order
    from polis.drivers.incus.settings import Settings
    from polis.drivers.incus.tool import Tool
    from polis.process import Completed, Runner

Record = TypeVar("Record")

LOCAL = "local"
"""The remote that is this machine's socket, in both tools."""

ANSWER_LIMIT = 256 * 1024 * 1024
"""Bytes that are read of the list of all instances: some thousands of them."""


class Client:
    """The command line client. Every method raises ToolFailure, and DriverMissing if there is none."""

    def __init__(self, tool: Tool, settings: Settings, *, run: Runner = process.run) -> None:
        self.tool = tool
        self.settings = settings
        self._run = run

    def server(self, *, limit: float) -> records.Server:
        """Return what the server is."""
        return self._read(self._query("/1.0", limit=limit), records.server)

    def instance(self, name: str, driver: str, *, limit: float) -> records.Seen:
        """Return one instance with its addresses, by one question; fails with `no-instance` if there is none."""
        done = self._query(f"/1.0/instances/{quote(name)}", limit=limit, recursion="1")
        return self._read(done, lambda text: records.seen(text, driver))

    def instances(self, driver: str, *, limit: float) -> tuple[records.Seen, ...]:
        """Return all instances of the project with their addresses, by one question.

        The answer goes through a file: with the user data of each instance in it, twice, a few hundred are more than is
        kept of a process's output.
        """
        with tempfile.TemporaryDirectory(prefix="polis-") as directory:
            answer = Path(directory) / "instances.json"
            done = self._query("/1.0/instances", limit=limit, stdout_to=answer, recursion="2")
            with answer.open("rb") as file:
                text = file.read(ANSWER_LIMIT).decode(errors="replace")
        return self._read(replace(done, stdout=text), lambda text: records.every(text, driver))

    def creating(self, name: str, *, limit: float) -> bool:
        """Return whether an instance of this name is just being created."""
        done = self._query("/1.0/operations", limit=limit, recursion="1")
        return self._read(done, lambda text: records.creating(text, name))

    def create(self, order: Order, *, limit: float) -> None:
        """Create an instance that is off; returns when it is whole.

        The configuration goes through stdin (it is YAML, so JSON will do): user data may hold keys, and the arguments
        of a process are for everybody to see.
        """
        options = [
            *(["--vm"] if order.vm else []),
            *(["--target", self.settings.target] if self.settings.target else []),
            *(word for profile in self.settings.profiles for word in ("--profile", profile)),
            *("--device", f"root,size={order.disk}"),
        ]
        self._call(
            *("init", order.image, self.settings.place(order.name), *options),
            limit=limit,
            stdin=json.dumps({"config": order.config, "devices": order.devices}).encode(),
        )

    def start(self, name: str, *, limit: float) -> None:
        """Switch an instance on, or wake one that is frozen; returns when its init or its firmware runs."""
        self._call("start", self.settings.place(name), limit=limit)

    def stop(self, name: str, *, wait: int, limit: float, force: bool = False) -> None:
        """Press the power button and wait for as many seconds, or pull the plug."""
        how = ["--force"] if force else ["--timeout", str(wait)]
        self._call("stop", self.settings.place(name), *how, limit=limit)

    def delete(self, name: str, *, limit: float) -> None:
        """Remove an instance, also one that is on, with its disk and snapshots."""
        self._call("delete", "--force", self.settings.place(name), limit=limit)

    def configure(self, name: str, config: Mapping[str, str], disk: str, *, limit: float) -> None:
        """Change sizes of an instance."""
        place = self.settings.place(name)
        self._call("config", "set", place, *(f"{key}={value}" for key, value in config.items()), limit=limit)
        if disk:
            self._call("config", "device", "set", place, "root", f"size={disk}", limit=limit)

    def add_device(self, name: str, device: str, keys: Mapping[str, str], *, limit: float) -> None:
        """Give an instance one more device; `type` is one of the keys."""
        more = [f"{key}={value}" for key, value in keys.items() if key != "type"]
        self._call("config", "device", "add", self.settings.place(name), device, keys["type"], *more, limit=limit)

    def remove_device(self, name: str, device: str, *, limit: float) -> None:
        """Take a device from an instance."""
        self._call("config", "device", "remove", self.settings.place(name), device, limit=limit)

    def is_local(self, *, limit: float) -> bool:
        """Return whether the server is this machine's own, by its socket."""
        chosen = self.settings.remote
        return (chosen or self._call("remote", "get-default", limit=limit, anywhere=True).stdout.strip()) == LOCAL

    def snapshot(self, name: str, label: str, *, limit: float) -> None:
        """Take a snapshot of an instance, on or off, without its memory; the server's own expiry is not applied."""
        self._call("snapshot", self.settings.place(name), label, "--no-expiry", limit=limit)

    def restore(self, name: str, label: str, *, limit: float) -> None:
        """Make an instance what it was when a snapshot was taken."""
        self._call("restore", self.settings.place(name), label, limit=limit)

    def drop(self, name: str, label: str, *, limit: float) -> None:
        """Remove a snapshot."""
        self._call("delete", self.settings.place(f"{name}/{label}"), limit=limit)

    def mark(self, name: str, key: str, value: str, *, limit: float) -> None:
        """Write one key of an instance's configuration."""
        self._call("config", "set", self.settings.place(name), f"{key}={value}", limit=limit)

    def images(self, digest: str, *, limit: float) -> tuple[records.StoredImage, ...]:
        """Return the images that Polis made, newest first; with a digest those made from these inputs."""
        sought = f"properties.{records.TEMPLATE} eq {digest}" if digest else ""
        return self._read(self._query("/1.0/images", limit=limit, recursion="1", filter=sought), records.images)

    def created_from(self, digest: str, *, limit: float) -> dict[str, str]:
        """Return the instances created from these inputs, and when each was, by name."""
        sought = f"config.{records.TEMPLATE} eq {digest}"
        return self._read(self._query("/1.0/instances", limit=limit, recursion="1", filter=sought), records.creations)

    def publish(self, name: str, label: str, properties: Mapping[str, str], *, limit: float) -> None:
        """Let the server make an image of a snapshot, and do not wait for that: it goes on by itself.

        Not compressed: that takes longer than everything else, here and whenever an instance is made of it.
        """
        source = {"type": "snapshot", "name": f"{name}/{label}"}
        order = {"source": source, "properties": dict(properties), "compression_algorithm": "none"}
        self._query("/1.0/images", limit=limit, order=order)

    def delete_image(self, image: str, *, limit: float) -> None:
        """Remove an image; instances made of it are not touched."""
        self._call("image", "delete", self.settings.place(image), limit=limit)

    def console(self, name: str, *, limit: float) -> str:
        """Return the console's log."""
        return self._call("console", self.settings.place(name), "--show-log", limit=limit).stdout

    def exec(
        self,
        name: str,
        argv: Sequence[str],
        *,
        limit: float,
        stdin: Path | None = None,
        stdout_to: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """Run a guest command as root.

        Raises no ToolFailure, for a code may be the command's own as well as the client's; ProcessTimeout after
        `limit` seconds.
        """
        streams = {"stdin": stdin, "stdout_to": stdout_to, "on_line": on_line}
        flags = ["-T"] if stdin is not None else ["-n", "-T"]
        return self._raw(self._exec(name, flags, argv), limit=limit, **streams)

    def shell_argv(self, name: str, argv: Sequence[str]) -> list[str]:
        """Return the command line of a guest command on the caller's own terminal, if there is one."""
        return self._exec(name, [], argv)

    def _exec(self, name: str, flags: Sequence[str], argv: Sequence[str]) -> list[str]:
        return [self.tool.command, "exec", *self._project(), self.settings.place(name), *flags, "--", *argv]

    def _query(
        self,
        path: str,
        *,
        limit: float,
        order: Mapping[str, object] | None = None,
        stdout_to: Path | None = None,
        **parameters: str,
    ) -> Completed:
        if self.settings.project:
            parameters["project"] = self.settings.project
        parameters = {key: value for key, value in parameters.items() if value}
        address = f"{path}?{urlencode(parameters)}" if parameters else path
        words = ["-X", "POST", "-d", json.dumps(order)] if order is not None else []
        words += [self.settings.place(address)]
        return self._call("query", *words, limit=limit, anywhere=True, stdout_to=stdout_to)

    def _call(
        self,
        verb: str,
        *argv: str,
        limit: float,
        anywhere: bool = False,
        stdin: bytes | None = None,
        stdout_to: Path | None = None,
    ) -> Completed:
        project = () if anywhere else self._project()
        try:
            streams = {"stdin": stdin, **({"stdout_to": stdout_to} if stdout_to is not None else {})}
            done = self._raw([self.tool.command, verb, *argv, *project], limit=limit, **streams)
        except process.ProcessTimeout as expired:
            said = words(expired.completed.stderr) or f"no answer to `{self.tool.command} {verb}` within {limit:.0f} s"
            raise ToolFailure(Failure(table.NO_ANSWER, verb, expired.completed.code, said)) from expired
        if not done.ok:
            raise ToolFailure(classify(verb, done))
        return done

    def _project(self) -> tuple[str, ...]:
        return ("--project", self.settings.project) if self.settings.project else ()

    def _raw(self, argv: Sequence[str], *, limit: float, **streams: Any) -> Completed:
        try:
            return self._run(argv, timeout=limit, **streams)
        except DriverMissing as error:
            raise DriverMissing(
                "neither Incus nor LXD is installed",
                cause=error.message,
                hint="install the client (Debian and Ubuntu: `sudo apt install incus-client`, or LXD's `lxc`), "
                "then run the command again",
            ) from error

    def _read(self, done: Completed, parse: Callable[[str], Record]) -> Record:
        try:
            return parse(done.stdout)
        except Unreadable as error:
            said = f"{error}: {words(done.stdout)[:200]}"
            raise ToolFailure(Failure(table.GARBLED, done.argv[1], done.code, said)) from error
