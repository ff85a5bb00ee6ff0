"""How the tests of the driver make instances, launch them, and look at the fake's state."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

from polis.drivers.base import Artifact, Image, LaunchRequest
from polis.drivers.multipass import host as hosts
from polis.drivers.multipass import userdata
from polis.drivers.multipass.client import Client
from polis.drivers.multipass.driver import MultipassDriver
from polis.drivers.multipass.patience import Patience
from polis.waiting import wait_until
from tests.fakes.multipass.install import Fake, InProcess

GIBIBYTE = 1024**3
LINUX = hosts.Host("linux")
QUICK = Patience(
    call=30.0,
    glance=0.05,
    daemon=2.0,
    look=0.01,
    lost=0.1,
    answer=30.0,
    grace=30.0,
    shutdown=0.3,
    blocked=30.0,
    preparing=30.0,
    refresh=30.0,
)


def calling_here(patience: Patience, host: hosts.Host = LINUX) -> MultipassDriver:
    return MultipassDriver(patience=patience, client=Client(host, run=InProcess()))


def request(name: str = "polis", owner: str = "owner-1", timeout: float = 20.0) -> LaunchRequest:
    return LaunchRequest(
        name=name,
        owner=owner,
        image=Image(disk=Artifact("", ""), alias="24.04"),
        cpus=2,
        memory=GIBIBYTE,
        disk=8 * GIBIBYTE,
        user_data="#cloud-config\nusers: [default]\n",
        timeout=timeout,
    )


def make(fake: Fake, name: str = "polis", owner: str = "owner-1") -> None:
    """Make an instance as a launch of that owner does."""
    text = userdata.prepared(request().user_data, owner, system="linux")
    done = fake.call("launch", "--name", name, "--cloud-init", "-", "24.04", stdin=text)
    assert done.ok, done.stderr
    fake.forget_calls()


def run(driver: MultipassDriver, *argv: str, timeout: float = 10.0) -> tuple[int, str, str]:
    done = driver.exec(name="polis", argv=argv, timeout=timeout)
    return done.code, done.stdout, done.stderr


def killed_launch(after: Callable[[], bool]) -> None:
    """Begin a launch as another program would, and kill its client."""
    text = userdata.prepared(request().user_data, "owner-1", system="linux")
    argv = ["multipass", "launch", "--name", "polis", "--timeout", "600", "--cloud-init", "-", "24.04"]
    client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert client.stdin is not None
    client.stdin.write(text.encode())
    client.stdin.close()
    assert wait_until(lambda _: after(), timeout=10, interval=0.005)
    client.send_signal(signal.SIGKILL)
    client.wait()


def state_file(fake: Fake) -> str:
    return (fake.directory / "instances.json").read_text()
