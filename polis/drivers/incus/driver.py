"""The driver of Incus and LXD: policy (the contract is drivers/base.py)."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any, TypeVar

from polis import process
from polis.drivers.base import Capabilities, Diagnosis, Instance, InstanceState
from polis.drivers.incus import remote
from polis.drivers.incus import tool as tools
from polis.drivers.incus.client import Client
from polis.drivers.incus.commands import Commands
from polis.drivers.incus.failures import ToolFailure
from polis.drivers.incus.patience import AWAY, Patience
from polis.drivers.incus.settings import Settings
from polis.drivers.toolcalls import patiently
from polis.errors import (
    ForeignInstance,
    GuestUnreachable,
    HostUnsuitable,
    InstanceMissing,
    PolisError,
    ProvisioningFailed,
)
from polis.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from polis.drivers.base import Forward, LaunchRequest, OnLine
    from polis.drivers.entries import Entries
    from polis.drivers.incus.api import Transport
    from polis.drivers.incus.arrival import Actions
    from polis.drivers.incus.records import Seen, Server
    from polis.drivers.incus.snapshots import IncusSnapshots
    from polis.drivers.incus.transfer import Execute
    from polis.process import Completed

Answer = TypeVar("Answer")

CONSOLE_LINES = 15

STUBBORN = frozenset({"deaf-to-shutdown", "no-answer"})
"""What a graceful stop may say of a guest that can only be cut off: one that is still booting, for example."""


class IncusDriver:
    """Instances of an Incus or LXD server, in the project and on the remote that the settings name.

    `disclose` is told what a user should know, such as that a container isolates less than a VM. `client` and
    `patience` are for tests.
    """

    name = "incus"

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        disclose: Callable[[str], None] | None = None,
        client: Client | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.capabilities = Capabilities(resize=True, snapshot=True, clone=True, forward_ports=True, cluster=True)
        self._client = client or Client(tools.detect(), settings or Settings())
        self._tool = self._client.tool
        self._patience = patience or Patience()
        self._disclose = disclose or (lambda _: None)
        self._commands = Commands(self._client, self._patience)
        self._users: dict[str, str] = {}

    @property
    def snapshots(self) -> IncusSnapshots:
        """Return what keeps and returns its instances."""
        from polis.drivers.incus.snapshots import Deeds, IncusSnapshots

        deeds = Deeds(look=self._look, ask=self._ask, switch_off=lambda name: self.stop(name=name, force=True))
        return IncusSnapshots(self._client, self._patience, deeds)

    def server(self) -> Server:
        """Return what the server is; raises DriverMissing, DriverUnavailable, HostUnsuitable, ConfigurationError."""
        return self._ask(lambda: self._client.server(limit=self._patience.call), self._patience.glance)

    def entries(self) -> Entries:
        """Return what is kept in the server's database (drivers/entries.py)."""
        from polis.drivers.incus.entries import IncusEntries

        return IncusEntries(self._connect, self._tool, self._patience)

    def find(self, *, name: str) -> Instance | None:
        """Return the instance, by one question. One whose image is still being fetched is not seen."""
        seen = self._seen(name, self._patience.glance)
        return seen.instance if seen is not None else None

    def find_all(self) -> Mapping[str, Instance]:
        """Return all instances of the project, by one question."""
        seen = self._ask(lambda: self._client.instances(self.name, limit=self._patience.call), self._patience.glance)
        return {each.instance.name: each.instance for each in seen}

    def launch(self, *, request: LaunchRequest, on_progress: Callable[[str], None] | None = None) -> None:
        """Create the instance, or join, adopt, complete or start the one that is there, and wait for the guest."""
        from polis.drivers.incus import birth
        from polis.drivers.incus.arrival import Arrival

        begun = time.monotonic()
        seen = self._seen(request.name, self._patience.daemon)
        if seen is None:
            birth.image(request, self._tool, self._client.settings)  # what is wrong is told before anything is made
        if request.forwards:
            self._require_forwarding(request, seen)
        left = max(1.0, request.timeout - (time.monotonic() - begun))
        Arrival(
            request.name, self._tool, self._launching(request), self._patience, on_progress or (lambda _: None)
        ).wait(left)

    def start(self, *, name: str, timeout: float, on_progress: Callable[[str], None] | None = None) -> None:
        """Switch the instance on, or wake it, and wait for the guest."""
        from polis.drivers.incus.arrival import Arrival

        self._there(name, self._patience.daemon)
        Arrival(name, self._tool, self._actions(name), self._patience, on_progress or (lambda _: None)).wait(timeout)

    def stop(self, *, name: str, timeout: float = 120.0, force: bool = False) -> None:
        """Switch the instance off: its power button, then the plug; one that is frozen is woken first."""
        seen = self._seen(name, self._patience.daemon)
        if seen is None or seen.instance.state is InstanceState.STOPPED:
            return
        deed = f"{name} cannot be switched off"
        if force or not self._ends_in_order(seen, timeout, deed):
            self._change(lambda: self._client.stop(name, wait=0, limit=self._patience.blocked, force=True), deed)

    def delete(self, *, name: str) -> None:
        """Remove this instance with its disk; one that an earlier launch is still creating is waited for."""
        wait_until(
            lambda _: self._seen(name, self._patience.daemon) is not None or not self._creating(name),
            timeout=self._patience.preparing,
            interval=self._patience.look,
        )
        if self._seen(name, self._patience.daemon) is not None:
            self._change(lambda: self._client.delete(name, limit=self._patience.blocked), f"{name} cannot be deleted")

    def exec(self, *, name: str, argv: Sequence[str], timeout: float, on_line: OnLine | None = None) -> Completed:
        """Run a command in the guest."""
        return self._commands.exec(name, argv, user=self._user(name), timeout=timeout, on_line=on_line)

    def push(self, *, name: str, source: Path, target: str, mode: int = 0o600) -> None:
        """Copy a file into the guest."""
        from polis.drivers.incus import transfer

        transfer.push(self._execute(name), source, target, mode)

    def pull(self, *, name: str, source: str, target: Path) -> None:
        """Copy a file of the guest to the host."""
        from polis.drivers.incus import transfer

        transfer.pull(self._execute(name), source, target)

    def shell(self, *, name: str, argv: Sequence[str] = ()) -> int:
        """Connect the caller's terminal; the client allocates one in the guest if there is one here."""
        seen = self._running(name)
        return process.interactive(self._client.shell_argv(name, remote.interactive(argv, user=seen.user)))

    def ssh_options(self, *, name: str) -> Mapping[str, str]:
        """Raise HostUnsuitable: commands and files go through the server, and no key is put into the guest for ssh."""
        self._running(name)
        raise HostUnsuitable(
            f"{name} is reached through {self._tool.title}, without a key for OpenSSH",
            hint="`polis shell` and `polis exec` need no key; or add your own to ~/.ssh/authorized_keys there",
        )

    def diagnose(self, *, name: str) -> Diagnosis:
        """Return what the server says of the instance, and its console's last lines, cleaned: the guest wrote them."""
        from polis.drivers import terminaltext

        try:
            seen = self._seen(name, self._patience.glance)
            if seen is None:
                return Diagnosis()
            server = self.server()
        except PolisError as error:
            return Diagnosis((str(error),))
        try:
            text = self._client.console(name, limit=self._patience.call)
        except ToolFailure as failed:
            text = failed.failure.words
        told = seen.instance
        where = f" on {seen.location}" if server.clustered else ""
        state = f"{told.state} ({told.detail})" if told.detail else told.state
        addresses = ", ".join(told.ipv4) or "no address"
        first = f"{self._tool.title} {server.version}: {seen.kind} {name}{where}: {state}, {addresses}"
        return Diagnosis((first, *terminaltext.lines(text)[-CONSOLE_LINES:]))

    # ---- parts

    def _connect(self) -> tuple[Transport, str]:
        from polis.drivers.incus import api, endpoint

        found = endpoint.find(self._tool, self._client.settings)
        return api.Api(found), found.project

    def _seen(self, name: str, patience: float) -> Seen | None:
        return self._ask(lambda: self._look(name), patience)

    def _look(self, name: str) -> Seen | None:
        try:
            seen = self._client.instance(name, self.name, limit=self._patience.call)
        except ToolFailure as failed:
            if failed.name == "no-instance":
                return None
            raise
        self._users[name] = seen.user
        return seen

    def _there(self, name: str, patience: float) -> Seen:
        seen = self._seen(name, patience)
        if seen is None:
            raise InstanceMissing(f"there is no instance {name}", hint="`polis up` creates it")
        return seen

    def _running(self, name: str) -> Seen:
        seen = self._there(name, self._patience.glance)
        if seen.instance.state is not InstanceState.RUNNING:
            told = f"{seen.instance.state} ({seen.instance.detail})" if seen.instance.detail else seen.instance.state
            raise GuestUnreachable(f"{name} is not on", cause=f"state: {told}", hint="`polis up` switches it on")
        return seen

    def _creating(self, name: str) -> bool:
        return self._ask(lambda: self._client.creating(name, limit=self._patience.call), self._patience.daemon)

    def _user(self, name: str) -> str:
        return self._users[name] if name in self._users else self._there(name, self._patience.glance).user

    def _ask(self, question: Callable[[], Answer], patience: float) -> Answer:
        try:
            return patiently(question, AWAY, patience, pause=self._patience.look)
        except ToolFailure as failed:
            raise failed.failure.error(f"{self._tool.title} does not answer", self._tool) from failed

    def _change(self, action: Callable[[], None], deed: str) -> None:
        """Do what may have been done already, waiting for what the server is just doing to the instance."""
        try:
            patiently(action, AWAY | {"busy"}, self._patience.preparing, pause=self._patience.look)
        except ToolFailure as failed:
            if failed.name in ("no-instance", "already"):
                return
            kind = None if failed.failure.row.error.retryable else ProvisioningFailed
            raise failed.failure.error(deed, self._tool, as_type=kind) from failed

    def _ends_in_order(self, seen: Seen, timeout: float, deed: str) -> bool:
        name = seen.instance.name
        limit = timeout + self._patience.grace
        if seen.instance.state is InstanceState.SUSPENDED:
            self._change(lambda: self._client.start(name, limit=limit), deed)
        try:
            self._client.stop(name, wait=math.ceil(timeout), limit=limit)
        except ToolFailure as failed:
            if failed.name in ("no-instance", "already"):
                return True
            if failed.name in STUBBORN:
                return False
            raise failed.failure.error(deed, self._tool) from failed
        return True

    def _execute(self, name: str) -> Execute:
        user = self._user(name)

        def execute(
            argv: Sequence[str], *, timeout: float, stdin: Path | None = None, stdout_to: Path | None = None
        ) -> Completed:
            return self._commands.exec(name, argv, user=user, timeout=timeout, stdin=stdin, stdout_to=stdout_to)

        return execute

    def _require_forwarding(self, request: LaunchRequest, seen: Seen | None) -> None:
        from polis.drivers.incus import birth

        server = self.server()
        local = self._ask(lambda: self._client.is_local(limit=self._patience.call), self._patience.glance)
        made_vm = birth.is_vm(server, self._client.settings, self._tool)[0] if seen is None else not seen.is_container
        birth.refuse(request, self._tool, vm=made_vm, local=local and not server.clustered)
        if seen is None or seen.instance.state is InstanceState.STOPPED:
            from polis.drivers import ports

            ports.require_free(request.forwards)  # the server would tell when the instance is there, and not which

    def _forward(self, request: LaunchRequest, actual: Sequence[Forward]) -> None:
        from polis.drivers.incus import forwards

        name, limit = request.name, self._patience.call
        for device in forwards.devices(each for each in actual if each not in request.forwards):
            self._client.remove_device(name, device, limit=limit)
        for device, keys in forwards.devices(each for each in request.forwards if each not in actual).items():
            self._client.add_device(name, device, keys, limit=limit)

    def _actions(self, name: str, **more: Any) -> Actions:
        from polis.drivers.incus.arrival import Actions

        limit = self._patience.call
        usual: dict[str, Any] = {
            "look": lambda: self._look(name),
            "creating": lambda: self._client.creating(name, limit=limit),
            "check": lambda _seen, _surprised: None,
            "prepare": lambda _seen: None,
            "start": lambda left: self._client.start(name, limit=left),
            "answer": lambda: self.exec(name=name, argv=["true"], timeout=self._patience.answer),
            "remove": lambda: self._client.delete(name, limit=self._patience.blocked),
        }
        return Actions(**usual | more)

    def _launching(self, request: LaunchRequest) -> Actions:
        from polis.drivers.incus import birth

        limit = self._patience.call

        def create(left: float) -> None:
            settings = self._client.settings
            vm, disclosure = birth.is_vm(self._client.server(limit=limit), settings, self._tool)
            if disclosure:
                self._disclose(disclosure)
            try:
                self._client.create(birth.order(request, self._tool, settings, vm=vm), limit=left)
            except ToolFailure as failed:
                if not request.template or failed.name != "no-image":
                    raise
                image = dataclasses.replace(request, template="")  # another has just removed the template
                self._client.create(birth.order(image, self._tool, settings, vm=vm), limit=left)

        def prepare(seen: Seen) -> None:
            actual = seen.instance.hardware
            if actual is None:
                return  # its sizes were changed by hand, or by its profiles
            disk = tools.size(request.disk) if request.disk > actual.disk else ""
            if disk or (actual.cpus, actual.memory) != (request.cpus, request.memory):
                self._client.configure(request.name, birth.limits(request), disk, limit=limit)
            self._forward(request, actual.forwards)

        return self._actions(request.name, create=create, prepare=prepare, check=_owner_of(request))


def _owner_of(request: LaunchRequest) -> Callable[[Seen, bool], None]:
    """Return what refuses an instance that is not this request's.

    One without any mark is taken only if it did not turn up behind our back: the record above has decided then.
    """

    def check(seen: Seen, surprised: bool) -> None:  # noqa: FBT001 -- a callback's argument
        found = seen.instance.owner
        if found == request.owner or (found is None and not surprised):
            return
        raise ForeignInstance(
            f"the instance {request.name} belongs to another workspace" if found else f"{request.name} is not ours",
            cause=f"created by {found}, not by {request.owner}" if found else "it carries no mark of a Polis workspace",
            remains="it is untouched",
            hint="choose another name with `-n`",
        )

    return check
