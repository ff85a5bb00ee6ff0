"""Multipass' driver: policy (the contract is drivers/base.py, the facts are those of 1.16)."""

from __future__ import annotations

import math
import secrets
import time
from typing import TYPE_CHECKING

from polis import process
from polis.drivers import native
from polis.drivers.base import Capabilities, Diagnosis, Instance, InstanceState
from polis.drivers.multipass import host as hosts
from polis.drivers.multipass import remote, userdata
from polis.drivers.multipass.client import Client
from polis.drivers.multipass.commands import Commands, there
from polis.drivers.multipass.failures import ToolFailure
from polis.drivers.multipass.patience import AWAY, Patience
from polis.drivers.multipass.power import Power
from polis.drivers.toolcalls import patiently
from polis.errors import (
    DriverMissing,
    ForeignInstance,
    HostUnsuitable,
    PolisError,
    ProvisioningFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from polis.drivers.base import LaunchRequest, OnLine
    from polis.drivers.multipass.arrival import Arrival
    from polis.drivers.multipass.records import Listed, Versions
    from polis.drivers.multipass.transfer import Files
    from polis.drivers.multipass.unborn import Unborn
    from polis.process import Completed


class MultipassDriver:
    """Instances of the user's own Multipass. Commands in them run as `ubuntu`, whatever the image's `user` says.

    `disclose` is told what a user should know, such as an image whose hash nobody compares. `host`, `client` and
    `patience` are for tests.
    """

    name = "multipass"

    def __init__(
        self,
        *,
        disclose: Callable[[str], None] | None = None,
        client: Client | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.capabilities = Capabilities(architecture=native.architecture())
        self._client = client or Client(hosts.detect())
        self._patience = patience or Patience()
        self._disclose = disclose or (lambda _: None)
        self._power = Power(self._client, self._patience, self._look)
        self._commands = Commands(self._client, self._patience, lambda name: self._seen(name, self._patience.daemon))

    def version(self) -> Versions:
        """Return the versions of client and daemon; raises DriverMissing if they are too old, or not there."""
        try:
            found = self._client.version(limit=self._patience.call)
        except ToolFailure as failed:
            raise failed.failure.error("Multipass does not tell its version", self._client.host) from failed
        if old := found.older_than(hosts.MINIMUM):
            minimum = ".".join(map(str, hosts.MINIMUM))
            raise DriverMissing(
                f"Multipass {old} is too old",
                cause=f"client {found.client}, daemon {found.daemon or 'not answering'}; {minimum} is needed",
                hint=self._client.host.pick(hosts.UPDATE),
            )
        return found

    def find(self, *, name: str) -> Instance | None:
        """Return the instance from `list`. One whose image is still being prepared is not seen there."""
        return self._seen(name, self._patience.glance)

    def find_all(self) -> Mapping[str, Instance]:
        """Return all instances from one `list`; none tells whose it is."""
        return {row.name: row.instance(self.name) for row in self._rows(self._patience.glance)}

    def launch(self, *, request: LaunchRequest, on_progress: Callable[[str], None] | None = None) -> None:
        """Create the instance, or join, adopt or start the one that is there, and wait for the guest.

        Raises ForeignInstance if the guest turns out to be another workspace's. One that was off must be switched on
        to tell; it is switched off again.
        """
        from polis.drivers.multipass import images

        images.refuse_unbootable(request.image)
        _refuse_forwards(request)
        begun = time.monotonic()
        seen = self._seen(request.name, self._patience.daemon)  # waits for the daemon, so `version` sees it
        self.version()
        launch = None if seen is not None else self._launching(request)
        arrival = self._arrival(request.name, request.timeout, on_progress, launch)
        answer = arrival.wait(max(1.0, request.timeout - (time.monotonic() - begun)))
        try:
            _require_owner(request, userdata.owner(answer.stdout), surprised=arrival.surprised)
        except ForeignInstance:
            if seen is not None and seen.state is InstanceState.STOPPED:
                self.stop(name=request.name)
            raise

    def start(self, *, name: str, timeout: float, on_progress: Callable[[str], None] | None = None) -> None:
        """Switch the instance on, wake it, or bring back one that Multipass lost sight of, and wait for the guest."""
        there(name, self._seen(name, self._patience.daemon))
        self._arrival(name, timeout, on_progress, None).wait(timeout)

    def stop(self, *, name: str, timeout: float = 120.0, force: bool = False) -> None:
        """Switch the instance off: power button, then the plug; a suspended one is woken first, to end in order."""
        seen = self._seen(name, self._patience.daemon)
        if seen is None or seen.state in (InstanceState.STOPPED, InstanceState.DELETED):
            return
        if seen.state is InstanceState.SUSPENDED and not force:
            force = not self._power.wake(name, timeout)
        try:
            self._power.switch_off(name, timeout, force=force)
        except ToolFailure as failed:
            if failed.name == "no-instance":
                return
            message = f"{name} cannot be switched off"
            raise failed.failure.error(message, self._client.host, as_type=_unless_transient(failed)) from failed

    def delete(self, *, name: str) -> None:
        """Delete and purge this instance, and no other; one that is still being prepared is waited for."""
        if self._seen(name, self._patience.daemon) is None and not self._unborn().comes(name):
            return
        try:
            patiently(
                lambda: self._client.purge(name, limit=self._patience.blocked),
                AWAY,
                self._patience.daemon,
                pause=self._patience.look,
            )
        except ToolFailure as failed:
            if failed.name == "no-instance":
                return
            message = f"{name} cannot be deleted"
            raise failed.failure.error(message, self._client.host, as_type=_unless_transient(failed)) from failed

    def exec(self, *, name: str, argv: Sequence[str], timeout: float, on_line: OnLine | None = None) -> Completed:
        """Run a command in the guest; never switches it on. On Windows the lines are told when it has ended."""
        return self._commands.exec(name, argv, timeout=timeout, on_line=on_line)

    def push(self, *, name: str, source: Path, target: str, mode: int = 0o600) -> None:
        """Copy a file into the guest."""
        self._files().push(name, source, target, mode)

    def pull(self, *, name: str, source: str, target: Path) -> None:
        """Copy a file of the guest to the host."""
        self._files().pull(name, source, target)

    def shell(self, *, name: str, argv: Sequence[str] = ()) -> int:
        """Connect the caller's terminal; the client allocates one in the guest if there is one here."""
        self._commands.require_running(name)
        if not argv:
            return process.interactive(self._client.shell_argv(name))
        file = f"/tmp/.polis-{secrets.token_hex(12)}"  # noqa: S108 -- in the guest, a name that nobody can guess
        line = remote.interactive(argv, file=file)
        code = process.interactive(self._client.exec_argv(name, line))
        if code != remote.REPLACED:
            return code
        was_four = self._commands.exec(name, ["rm", "--", file], timeout=self._patience.answer).ok
        return 4 if was_four else code

    def ssh_options(self, *, name: str) -> Mapping[str, str]:
        """Return how an OpenSSH client reaches the guest with Multipass' own key, which only root may read."""
        from polis.drivers.multipass import access

        seen = self._commands.require_running(name)
        key = access.key(self._client.host)
        shown = self._commands.run(name, access.SHOW_HOST_KEY, timeout=self._patience.answer)
        return access.options(seen, key, shown.stdout)

    def diagnose(self, *, name: str) -> Diagnosis:
        """Return what Multipass says of the instance, and where its service's log is: it keeps no console's."""
        try:
            seen = self._seen(name, self._patience.glance)
            if seen is None:
                return Diagnosis()
            found = self._client.version(limit=self._patience.call)
        except (PolisError, ToolFailure) as error:
            return Diagnosis((str(error),))
        addresses = ", ".join(seen.ipv4) or "no address"
        lines = (
            f"Multipass {found.client}, daemon {found.daemon or 'not answering'}",
            f"{name}: {seen.state}{f' ({seen.detail})' if seen.detail else ''}, {addresses}",
            f"the service's log: {self._client.host.pick(hosts.LOG)}",
        )
        return Diagnosis(lines)

    # ---- parts

    def _seen(self, name: str, patience: float) -> Instance | None:
        return self._named(name, self._rows(patience))

    def _look(self, name: str) -> Instance | None:
        return self._named(name, self._client.list(limit=self._patience.call))

    def _named(self, name: str, rows: Sequence[Listed]) -> Instance | None:
        return next((row.instance(self.name) for row in rows if row.name == name), None)

    def _rows(self, patience: float) -> tuple[Listed, ...]:
        try:
            return patiently(
                lambda: self._client.list(limit=self._patience.call), AWAY, patience, pause=self._patience.look
            )
        except ToolFailure as failed:
            raise failed.failure.error("Multipass does not answer", self._client.host) from failed

    def _launching(self, request: LaunchRequest) -> Callable[[int], None]:
        """Return the call that creates the instance, of what was verified before; it takes the attempt's number."""
        from polis.drivers.multipass import images
        from polis.drivers.multipass.client import Order

        host = self._client.host
        image = images.argument(request.image, host, self._disclose)
        user_data = userdata.prepared(request.user_data, request.owner, system=host.system)
        wait = math.ceil(request.timeout) + self._patience.margin

        def launch(attempt: int) -> None:
            if attempt > 1:
                self._refresh_images()
            order = Order(
                name=request.name,
                image=image if attempt == 1 else images.from_releases(image),
                cpus=request.cpus,
                memory=images.size(request.memory),
                disk=images.size(request.disk),
                user_data=user_data,
                wait=wait,
            )
            self._client.launch(order, limit=wait)

        return launch

    def _refresh_images(self) -> None:
        try:
            self._client.refresh_images(limit=self._patience.refresh)
        except ToolFailure:
            return  # the launch that follows tells what is wrong

    def _arrival(
        self,
        name: str,
        timeout: float,
        on_progress: Callable[[str], None] | None,
        launch: Callable[[int], None] | None,
    ) -> Arrival:
        from polis.drivers.multipass.arrival import Actions, Arrival

        wait = math.ceil(timeout) + self._patience.margin
        limit = self._patience.call
        actions = Actions(
            look=lambda: self._look(name),
            # The stamp, if there is one: whatever `cat` says, a guest that says it is there.
            answer=lambda: self._commands.run(name, ["cat", "--", userdata.STAMP], timeout=self._patience.answer),
            start=lambda: self._client.start(name, wait=wait, limit=wait),
            switch_off=lambda: self._power.switch_off(name, self._patience.shutdown),
            cancel_shutdown=lambda: self._client.cancel_shutdown(name, limit=limit),
            launch=launch,
        )
        return Arrival(name, self._client, actions, self._patience, on_progress or (lambda _: None))

    def _unborn(self) -> Unborn:
        from polis.drivers.multipass.unborn import Unborn

        return Unborn(self._client, self._patience, self._seen)

    def _files(self) -> Files:
        from polis.drivers.multipass.transfer import Files

        return Files(self._client, self._commands)


def _refuse_forwards(request: LaunchRequest) -> None:
    if request.forwards:
        raise HostUnsuitable(
            "Multipass forwards no ports",
            cause=", ".join(f"{each.host} to {each.guest}" for each in request.forwards),
            remains="nothing was changed",
            hint="leave `ports` out: the VM has an address of its own, which `polis status` shows; or `--driver qemu`",
        )


def _require_owner(request: LaunchRequest, found: str, *, surprised: bool) -> None:
    """Refuse a machine with another's stamp. One without any is taken only if it did not turn up behind our back.

    Where there is none, such as after a cloud-init that failed, the record above has decided that it is ours.
    """
    if found == request.owner or (not found and not surprised):
        return
    raise ForeignInstance(
        f"the instance {request.name} belongs to another workspace" if found else f"{request.name} is not ours",
        cause=f"created by {found}, not by {request.owner}" if found else "it carries no mark of a Polis workspace",
        remains="it is untouched",
        hint="choose another name with `-n`",
    )


def _unless_transient(failed: ToolFailure) -> type[PolisError] | None:
    return None if failed.failure.row.error.retryable else ProvisioningFailed
