"""What the client is told, and what of it others may see."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polis.drivers.base import Artifact, Forward, Image, LaunchRequest
from polis.drivers.incus import birth, forwards, remote, tool
from polis.drivers.incus.client import Client
from polis.drivers.incus.driver import IncusDriver
from polis.drivers.incus.failures import ToolFailure
from polis.drivers.incus.records import Server
from polis.drivers.incus.settings import Settings
from polis.drivers.incus.tool import INCUS, LXD
from polis.errors import ConfigurationError, DriverMissing, HostUnsuitable
from polis.process import Completed, ProcessTimeout

SECRET = "sk-very-secret"
FAR = Settings(remote="far", project="agents", target="@fast", profiles=("default", "gpu"), image="local", kind="vm")


@dataclass
class Runner:
    """Answers like the tool, and remembers what it was told."""

    code: int = 0
    stdout: str = "{}"
    stderr: str = ""
    failure: Exception | None = None
    told: list[tuple[list[str], Any]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], *, timeout: float, stdin: Any = None, **_: Any) -> Completed:
        self.told.append((list(argv), stdin))
        if self.failure is not None:
            raise self.failure
        return Completed(tuple(argv), self.code, self.stdout, self.stderr, 0.1)

    @property
    def argv(self) -> list[str]:
        return self.told[-1][0]


def request(**more: Any) -> LaunchRequest:
    usual: dict[str, Any] = {
        "name": "polis",
        "owner": "3f1c",
        "image": Image(Artifact("https://x/y.img", "0" * 64), alias="24.04", user="worker"),
        "cpus": 2,
        "memory": 3 * 1024**3,
        "disk": 20 * 1024**3,
        "user_data": f"#cloud-config\nkey: {SECRET}\n",
        "timeout": 60.0,
    }
    return LaunchRequest(**usual | more)


def test_what_is_created_is_told_in_the_arguments_and_the_secrets_in_stdin() -> None:
    runner = Runner()
    Client(LXD, FAR, run=runner).create(birth.order(request(), LXD, FAR, vm=True), limit=60)
    argv, stdin = runner.told[0]
    assert argv == [
        *("lxc", "init", "local", "far:polis", "--vm", "--target", "@fast"),
        *("--profile", "default", "--profile", "gpu", "--device", "root,size=20480MiB", "--project", "agents"),
    ]
    assert not any(SECRET in word for word in argv)
    assert json.loads(stdin) == {
        "config": {
            "limits.cpu": "2",
            "limits.memory": "3072MiB",
            "user.user-data": f"#cloud-config\nkey: {SECRET}\n",
            "user.polis.owner": "3f1c",
            "user.polis.workspace": "polis",
            "user.polis.user": "worker",
        },
        "devices": {},
    }


def test_an_order_that_is_printed_shows_no_secret() -> None:
    assert SECRET not in repr(birth.order(request(), LXD, FAR, vm=True))


def test_a_container_is_one_in_which_docker_runs() -> None:
    made = birth.order(request(), INCUS, Settings(), vm=False)
    assert made.config["security.nesting"] == "true"
    assert made.image == "images:ubuntu/24.04/cloud"
    assert birth.order(request(), LXD, Settings(), vm=True).image == "ubuntu:24.04"
    assert "security.nesting" not in birth.order(request(), LXD, Settings(), vm=True).config


@pytest.mark.parametrize(
    ("deed", "argv"),
    [
        (lambda c: c.start("p", limit=1), ["start", "far:p"]),
        (lambda c: c.stop("p", wait=7, limit=1), ["stop", "far:p", "--timeout", "7"]),
        (lambda c: c.stop("p", wait=7, limit=1, force=True), ["stop", "far:p", "--force"]),
        (lambda c: c.delete("p", limit=1), ["delete", "--force", "far:p"]),
        (lambda c: c.console("p", limit=1), ["console", "far:p", "--show-log"]),
        (lambda c: c.configure("p", {"limits.cpu": "4"}, "", limit=1), ["config", "set", "far:p", "limits.cpu=4"]),
        (
            lambda c: c.configure("p", {"limits.cpu": "4"}, "9MiB", limit=1),
            ["config", "device", "set", "far:p", "root", "size=9MiB"],
        ),
    ],
)
def test_verbs(deed: Callable[[Client], None], argv: list[str]) -> None:
    runner = Runner()
    deed(Client(INCUS, FAR, run=runner))
    assert runner.argv == ["incus", *argv, "--project", "agents"]
    deed(Client(LXD, Settings(), run=runner))
    assert runner.argv == ["lxc", *(word.removeprefix("far:") for word in argv)]


def test_questions() -> None:
    runner = Runner(stdout='{"name": "p", "status": "Running", "config": {}}')
    Client(INCUS, FAR, run=runner).instance("p", "incus", limit=1)
    assert runner.argv == ["incus", "query", "far:/1.0/instances/p?recursion=1&project=agents"]
    Client(INCUS, Settings(), run=runner).creating("p", limit=1)
    assert runner.argv == ["incus", "query", "/1.0/operations?recursion=1"]


def test_guest_commands_have_no_stdin_unless_there_is_a_file(tmp_path: Path) -> None:
    runner = Runner()
    client = Client(LXD, FAR, run=runner)
    client.exec("p", ["true"], limit=1)
    assert runner.argv == ["lxc", "exec", "--project", "agents", "far:p", "-n", "-T", "--", "true"]
    client.exec("p", ["cat"], limit=1, stdin=tmp_path)
    assert runner.argv == ["lxc", "exec", "--project", "agents", "far:p", "-T", "--", "cat"]
    assert client.shell_argv("p", ["id"]) == ["lxc", "exec", "--project", "agents", "far:p", "--", "id"]


def test_a_missing_tool_is_told_with_what_installs_it() -> None:
    client = Client(INCUS, Settings(), run=Runner(failure=DriverMissing("incus is not installed")))
    with pytest.raises(DriverMissing, match="neither Incus nor LXD") as caught:
        client.start("p", limit=1)
    assert "install" in caught.value.hint


def test_a_tool_that_does_not_end_is_a_failure_like_another() -> None:
    expired = ProcessTimeout(Completed(("lxc",), -15, "", "", 60.0), 60.0)
    with pytest.raises(ToolFailure, match="no-answer") as caught:
        Client(LXD, Settings(), run=Runner(failure=expired)).start("p", limit=60)
    assert "lxc start" in caught.value.failure.words


def test_an_answer_that_is_no_json_is_not_taken_for_no_instance() -> None:
    with pytest.raises(ToolFailure, match="garbled"):
        Client(LXD, Settings(), run=Runner(stdout="<html>")).instance("p", "incus", limit=1)


def test_which_tool() -> None:
    assert tool.detect(lambda name: f"/usr/bin/{name}" if name == "lxc" else None) is LXD
    assert tool.detect(lambda name: f"/usr/bin/{name}") is INCUS
    assert tool.detect(lambda _: None) is INCUS
    assert "snap" in tool.detect(lambda name: f"/snap/bin/{name}" if name == "lxc" else None).service


@pytest.mark.parametrize(
    ("text", "figure"),
    [("6GiB", 6 * 1024**3), ("512MiB", 512 * 1024**2), ("1GB", 1000**3), ("5kB", 5000), ("7", 7), ("7B", 7)],
)
def test_sizes_are_read(text: str, figure: int) -> None:
    assert tool.size_of(text) == figure


@pytest.mark.parametrize("text", ["", "50%", "GiB", "1XB", "-1GiB"])
def test_what_is_no_size_is_none(text: str) -> None:
    assert tool.size_of(text) is None


def test_sizes_are_written_so_that_they_are_read_back() -> None:
    assert tool.size(8 * 1024**3) == "8192MiB"
    assert tool.size_of(tool.size(1)) == 1024**2


def test_an_image_that_only_a_file_is_cannot_be_used() -> None:
    with pytest.raises(ConfigurationError) as caught:
        birth.image(request(image=Image(Artifact("/a/disk.qcow2", "0" * 64))), LXD, Settings())
    assert "incus.image" in caught.value.hint


PORTS = (Forward(8080, 80), Forward(2222, 22))


@pytest.mark.parametrize(("vm", "local", "why"), [(True, True, "a VM"), (False, False, "not be this machine")])
def test_ports_are_refused_by_their_numbers_where_they_would_lead_elsewhere(vm: bool, local: bool, why: str) -> None:
    birth.refuse(request(), LXD, vm=vm, local=local)
    with pytest.raises(HostUnsuitable, match=why) as caught:
        birth.refuse(request(forwards=PORTS), LXD, vm=vm, local=local)
    assert caught.value.cause == "8080 to 80, 2222 to 22"


def test_ports_of_a_container_are_devices_that_are_read_again() -> None:
    birth.refuse(request(forwards=PORTS), LXD, vm=False, local=True)
    order = birth.order(request(forwards=PORTS), LXD, Settings(), vm=False)
    device = {"type": "proxy", "listen": "tcp:127.0.0.1:8080", "connect": "tcp:127.0.0.1:80"}
    assert order.devices["polis-port-8080"] == device
    assert forwards.read({"root": {"type": "disk"}, **order.devices}) == PORTS


@pytest.mark.parametrize(
    "devices", [None, [], {"polis-port-1": None}, {"polis-port-1": {"listen": "tcp:0.0.0.0:1", "connect": "x"}},
                {"proxy": {"type": "proxy", "listen": "tcp:127.0.0.1:80", "connect": "tcp:127.0.0.1:80"}}],
)  # fmt: skip
def test_other_devices_are_no_forwards(devices: object) -> None:
    assert forwards.read(devices) == ()


@pytest.mark.parametrize(
    ("remote_name", "default", "local"),
    [("", "local\n", True), ("", "far\n", False), ("far", "local\n", False), ("local", "far\n", True)],
)
def test_which_server_is_this_machine(remote_name: str, default: str, local: bool) -> None:
    assert Client(LXD, Settings(remote=remote_name), run=Runner(stdout=default)).is_local(limit=1) is local


SERVER = Server("lxd", "5.0.2", vms=False, clustered=False)
WITH_VMS = Server("incus", "6.0", vms=True, clustered=False)


@pytest.mark.parametrize(
    ("kind", "server", "vm", "said"),
    [
        ("auto", WITH_VMS, True, ""),
        ("vm", WITH_VMS, True, ""),
        ("auto", SERVER, False, "less isolation; this server makes no VMs"),
        ("container", WITH_VMS, False, "less isolation; as configured"),
    ],
)
def test_less_isolation_is_said(kind: str, server: Server, vm: bool, said: str) -> None:
    chosen, told = birth.is_vm(server, Settings(kind=kind), LXD)
    assert chosen is vm
    assert said in told


def test_a_vm_that_cannot_be_is_refused_before_anything_is_made() -> None:
    with pytest.raises(HostUnsuitable, match="makes no VMs") as caught:
        birth.is_vm(SERVER, Settings(kind="vm"), LXD)
    assert "incus.kind" in caught.value.hint


def test_the_marks_are_taken_out_of_what_a_command_said() -> None:
    assert remote.read("notice\nn+\nerr\nn=7\n", "n") == remote.Answer(begun=True, code=7, stderr="err\n")
    assert remote.read("n+\nerr\n", "n") == remote.Answer(begun=True, code=None, stderr="err\n")
    assert remote.read("Error: x\n", "n") == remote.Answer(begun=False, code=None, stderr="Error: x\n")
    assert remote.read("n-\n", "n").no_user


# ---- all instances at once


@dataclass
class Lister:
    """Answers a query into the file that it is told."""

    answer: str
    argv: list[str] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], *, timeout: float, stdout_to: Path | None = None, **_: Any) -> Completed:
        self.argv = list(argv)
        assert stdout_to is not None, "hundreds of instances are more than is kept of a process's output"
        stdout_to.write_text(self.answer)
        return Completed(tuple(argv), 0, "", "", 0.1)


def _instance() -> dict[str, Any]:
    transcript = Path(__file__).parents[1] / "data/lxd/011-query-running.json"
    found: dict[str, Any] = json.loads(json.loads(transcript.read_text())["stdout"])
    return found


def test_all_instances_are_asked_for_by_one_question() -> None:
    rows = [{**_instance(), "name": name} for name in ("one", "two")]
    lister = Lister(json.dumps([*rows, {"name": "half told"}, "nonsense"]))
    found = IncusDriver(client=Client(LXD, FAR, run=lister)).find_all()
    assert lister.argv == ["lxc", "query", "far:/1.0/instances?recursion=2&project=agents"]
    assert set(found) == {"one", "two"}
    assert (found["two"].owner, found["two"].ipv4, found["two"].state.value) == ("3f1c", ("10.90.0.118",), "running")


def test_a_list_that_is_none_is_no_empty_server() -> None:
    client = Client(LXD, Settings(), run=Lister('{"error": "no"}'))
    with pytest.raises(ToolFailure):
        client.instances("incus", limit=1.0)
