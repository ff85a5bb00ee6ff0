"""What each verb does and says, but for exec, shell and transfer."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.multipass import documents, printing
from tests.fakes.multipass.daemon import Daemon, Refused
from tests.fakes.multipass.faults import FAULTS
from tests.fakes.multipass.world import Machine

PAUSE = 0.005
NAME = re.compile(r"([a-zA-Z]|[a-zA-Z][a-zA-Z0-9-]*[a-zA-Z0-9])")
Options = dict[str, str]


def version(daemon: Daemon, options: Options, _: list[str]) -> None:
    daemon.world.wait_for_daemon()
    found = {"multipass": "1.16.3"} | ({"multipassd": "1.16.3"} if daemon.up else {})
    path = daemon.world.directory / "version"
    if path.exists():
        found = dict.fromkeys(found, path.read_text().strip())
    if options.get("--format") == "json":
        printing.out(printing.as_json(found))
    else:
        printing.out("".join(f"{name:<12}{number}\n" for name, number in found.items()))


def listing(daemon: Daemon, options: Options, _: list[str]) -> None:
    daemon.admit("list")
    with daemon.world.machines() as machines:
        daemon.settle(machines)
        rows = [(each, daemon.state(each)) for each in machines.values() if each.created]
    entries: list[dict[str, Any]] = [
        {"ipv4": _address(state), "name": each.name, "release": "Ubuntu 24.04 LTS", "state": state}
        for each, state in rows
    ]
    if options.get("--format") == "json":
        printing.out(printing.as_json({"list": entries}))
    elif not entries:
        printing.out("No instances found.\n")
    else:
        printing.out("Name                    State             IPv4             Image\n")
        for entry in entries:
            address = (entry["ipv4"] or ["--"])[0]
            printing.out(f"{entry['name']:<24}{entry['state']:<18}{address:<17}{entry['release']}\n")


def info(daemon: Daemon, _: Options, names: list[str]) -> None:
    daemon.admit("info")
    found: dict[str, Any] = {}
    with daemon.world.machines() as machines:
        daemon.settle(machines)
        for name in names:
            machine = daemon.known(machines, "info", name, deleted=True)
            state = daemon.state(machine)
            on = state == "Running"
            found[name] = {
                "cpu_count": str(machine.cpus) if on else "",
                "disks": {"sda1": {"total": "1827102720", "used": "480309248"} if on else {}},
                "image_hash": "b7f6cf5a926e1f4c0256925c1c59b62eb789dde2972f6bb4a7e449c704f31464",
                "image_release": "24.04 LTS",
                "ipv4": _address(state),
                "load": [0.92, 0.42, 0.16] if on else [],
                "memory": {"total": 1013276672, "used": 221609984} if on else {},
                "mounts": {},
                "release": "Ubuntu 24.04.3 LTS" if on else "",
                "snapshot_count": "0",
                "state": state,
            }
    printing.out(printing.as_json({"errors": [], "info": found}))


def find(daemon: Daemon, _: Options, __: list[str]) -> None:
    daemon.admit("find")
    printing.out("Image    Aliases    Version    Description\n24.04    noble,lts  20261001   Ubuntu 24.04 LTS\n")


def launch(daemon: Daemon, options: Options, words: list[str]) -> None:
    begun = time.time()
    image = words[0] if words else "lts"
    name = options.get("--name", "primary")
    patience = float(options.get("--timeout", "300"))
    source = options.get("--cloud-init", "")
    text = "#cloud-config\n{}\n"
    if source:
        try:
            text = printing.stdin().read().decode() if source == "-" else Path(source).read_text()
        except OSError:
            told = f"Could not load cloud-init configuration: bad file: {source}\n"
            told += "Please ensure that Multipass can read it.\n"
            raise Refused(told, 1) from None
        text = documents.rewritten(text)
    daemon.admit("launch")
    printing.err(printing.BLUEPRINTS)
    if not NAME.fullmatch(name):
        raise Refused(f"launch failed: Invalid arguments supplied\nInvalid instance name supplied: {name}\n")
    times = daemon.world.times(name)
    with daemon.world.machines() as machines:
        daemon.settle(machines)
        if name in machines:
            is_there = "already exists" if machines[name].created else "is being prepared"
            raise Refused(f'launch failed: instance "{name}" {is_there}\n')
        if image.startswith("file://") and not Path(image.removeprefix("file://")).exists():
            raise Refused(f"launch failed: Custom image `{image.removeprefix('file://')}` does not exist.\n")
        downloaded = begun + times.download
        machines[name] = Machine(
            name=name,
            cpus=int(options.get("--cpus", "1")),
            memory=options.get("--memory", "1G"),
            disk=options.get("--disk", "5G"),
            user_data=text,
            downloaded=downloaded,
            prepared=downloaded + times.prepare,
            patience=patience,
            client=os.getpid(),
        )
    for line in ("Creating", "Preparing image for", "Configuring", "Starting"):
        printing.spinner(f"{line} {name}")
    _await(daemon, name, times.cloud_init, until=begun + patience if "--timeout" in options else None)
    printing.out(f"{printing.CLEAR}Launched: {name}\n{printing.CLEAR}")


def start(daemon: Daemon, options: Options, words: list[str]) -> None:
    name = words[0]
    printing.spinner(f"Starting {name}")
    switch_on(daemon, "start", name, float(options.get("--timeout", "300")), timed="--timeout" in options)


def switch_on(daemon: Daemon, verb: str, name: str, patience: float, *, timed: bool = False) -> None:
    """Start an instance and wait for its sshd, for `start` and for an `exec` in one that is off."""
    daemon.admit(verb)
    begun = time.time()
    with daemon.world.machines() as machines:
        daemon.settle(machines)
        machine = machines.get(name)
        if machine is None or not machine.created:
            raise Refused(f"start failed: instance(s) missing\nInstance '{name}' does not exist.\n")
        if machine.deleted:
            hint = "Use 'recover' to recover it or 'purge' to permanently delete it."
            raise Refused(f"start failed: instance(s) missing\nInstance '{name}' is deleted. {hint}\n")
        if machine.lost or machine.broken:
            told = f"Instance '{name}' is already running, but in an unknown state.\nTry to stop it first.\n"
            raise Refused(f"start failed: The following errors occurred:\n{told}")
        guest = daemon.guest(machine)
        machine.suspended = False
        if not guest.is_on():
            guest.start()
            machine.deadline = begun + patience
    _await(daemon, name, 0.0, until=begun + patience if timed else None, what="to start")


def stop(daemon: Daemon, options: Options, words: list[str]) -> None:
    name = words[0]
    printing.spinner(f"Stopping {name}")
    daemon.admit("stop")
    times = daemon.world.times(name)
    with daemon.world.machines() as machines:
        daemon.settle(machines)
        machine = daemon.known(machines, "stop", name)
        guest = daemon.guest(machine)
        if "--cancel" in options:
            machine.shutdown = 0.0
            return
        if "--time" in options:
            machine.shutdown = time.time() + 60 * float(options["--time"])
            return
        if "--force" not in options:
            if machine.suspended:
                raise Refused(
                    f"stop failed: Cannot shut down suspended instance {name}.\nUse --force to power it off.\n"
                )
            deaf = (daemon.world.faults / "deaf").exists() or (guest.is_on() and guest.answers_since() is None)
            if deaf:
                daemon.world.busy(times.deaf)
            elif guest.is_on():
                daemon.world.busy(times.stop)
        else:
            deaf = False
    daemon.world.wait_for_daemon()
    if deaf:
        raise Refused("stop failed: The QEMU process did not finish within 300000 milliseconds after being shutdown\n")
    with daemon.world.machines() as machines:
        machine = machines[name]
        guest = daemon.guest(machine)
        if "--force" in options:
            guest.kill()
        elif guest.is_on():
            guest.stop()
        machine.lost = machine.broken = machine.suspended = False
        machine.shutdown = machine.deadline = 0.0


def suspend(daemon: Daemon, _: Options, words: list[str]) -> None:
    printing.spinner(f"Suspending {words[0]}")
    daemon.admit("suspend")
    with daemon.world.machines() as machines:
        daemon.settle(machines)
        daemon.known(machines, "suspend", words[0]).suspended = True


def delete(daemon: Daemon, options: Options, words: list[str]) -> None:
    daemon.admit("delete")
    with daemon.world.machines() as machines:
        daemon.settle(machines)
        for name in words:
            machine = daemon.known(machines, "delete", name, deleted=True)
            guest = daemon.guest(machine)
            if "--purge" in options:
                guest.destroy()
                del machines[name]
            else:
                guest.kill()
                machine.deleted = True


def recover(daemon: Daemon, _: Options, words: list[str]) -> None:
    daemon.admit("recover")
    with daemon.world.machines() as machines:
        daemon.known(machines, "recover", words[0], deleted=True).deleted = False


def purge(daemon: Daemon, _: Options, __: list[str]) -> None:
    """Remove the deleted instances of everybody."""
    daemon.admit("purge")
    with daemon.world.machines() as machines:
        for machine in [each for each in machines.values() if each.deleted]:
            daemon.guest(machine).destroy()
            del machines[machine.name]


def _await(daemon: Daemon, name: str, more: float, *, until: float | None, what: str = "launch") -> None:
    """Wait for sshd, and `more` seconds for cloud-init; the client's own limit is `until`."""
    while True:
        with daemon.world.machines() as machines:
            daemon.settle(machines)
            machine = machines.get(name)
            if machine is None:
                raise Refused(f"{'launch' if what == 'launch' else 'start'} failed: Instance shutdown during start\n")
            if machine.broken:
                raise Refused(_broken(daemon))
            since = daemon.guest(machine).answers_since() if machine.created else None
            if since is not None and not machine.lost and time.time() >= since + more:
                return
            if machine.lost and until is None:
                raise Refused(
                    f"launch failed: The following errors occurred:\n{name}: timed out waiting for response\n"
                )
        if until is not None and time.time() >= until:
            raise Refused(f"Timed out waiting for instance {what}.\n", 5)
        time.sleep(PAUSE)


def _broken(daemon: Daemon) -> str:
    ordered = [name for name, fault in FAULTS.items() if fault.broken and (daemon.world.faults / name).exists()]
    for name in ordered:
        daemon.world.strikes(name)
        return FAULTS[name].stderr
    return "launch failed: Instance shutdown during start\n"


def _address(state: str) -> list[str]:
    return ["10.234.65.179"] if state in ("Running", "Delayed Shutdown") else []


VERBS: dict[str, tuple[Callable[[Daemon, Options, list[str]], None], tuple[str, ...], tuple[str, ...]]] = {
    "version": (version, ("--format",), ()),
    "list": (listing, ("--format",), ("--no-ipv4",)),
    "info": (info, ("--format",), ("--no-runtime-information",)),
    "find": (find, ("--format",), ("--force-update",)),
    "launch": (launch, ("--name", "--cpus", "--memory", "--disk", "--timeout", "--cloud-init"), ()),
    "start": (start, ("--timeout",), ()),
    "stop": (stop, ("--time",), ("--force", "--cancel")),
    "suspend": (suspend, (), ()),
    "delete": (delete, (), ("--purge",)),
    "recover": (recover, (), ()),
    "purge": (purge, (), ()),
}
"""For each verb, what does it, its options with a value, and its flags."""
