"""A fleet that is killed or interrupted: each member goes on by itself from where it was."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.crash.running import PATIENCE, Home
from tests.simulated.many import Machines

pytestmark = pytest.mark.timeout(600)

NAMES = ("m-1", "m-2", "m-3", "m-4")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "docker-compose.yml").write_text("services: {}\n")
    fleet = {"defaults": {"bundle": "bundle"}, "members": [{"name": "m", "count": len(NAMES)}]}
    (tmp_path / "fleet.yaml").write_text(json.dumps(fleet))
    return Home(tmp_path, {"SIMULATED_MANY": "1"})


def machines(home: Home) -> Machines:
    return Machines(home.directory / "machines")


def heal(home: Home) -> None:
    """The next `fleet up` ends with all members healthy, and with one machine each."""
    again = home.run("fleet", "up", "--json")
    assert again.returncode == 0, again.stderr
    last = json.loads(again.stdout.splitlines()[-1])
    assert (last["counts"], last["exit_code"]) == ({"healthy": len(NAMES)}, 0)
    for name in NAMES:
        machine = machines(home).of(name).machine_of(name)
        assert machine["needless"] == [], "nothing was done that was done already"
        assert machines(home).of(name).launches == 1
        state = json.loads((home.directory / f"home/config/workspaces/{name}/state.json").read_text())
        assert (state["phase"], state["transition"], state["last_error"]) == ("healthy", None, None)
        assert state["id"] == machine["owner"]
    plan = json.loads(home.run("fleet", "plan", "--json").stdout)
    assert plan["pending"] is False


@pytest.mark.parametrize(
    "point", ["during launch", "during exec:wait", "after push", "during exec:pull", "after exec:up"]
)
def test_killed_with_several_at_work_each_member_resumes(home: Home, point: str) -> None:
    with home.start("fleet", "up", "--parallel", "3", SIMULATED_HANG=point) as child:
        home.await_file("hanging", child)
        child.kill()
        child.communicate(timeout=PATIENCE)
    seen = json.loads(home.run("fleet", "status", "--json").stdout)
    assert all(member["transition"] is None or member["transition"]["alive"] is False for member in seen["members"])
    heal(home)


def test_ctrl_c_ends_those_at_work_cleanly_and_begins_no_others(home: Home) -> None:
    with home.start("fleet", "up", "--parallel", "2", SIMULATED_HANG="during exec:pull") as child:
        home.await_lines("hanging", 2, child)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130, err
    assert out == "4 members: 2 not-begun, 2 interrupted\n"
    assert "Traceback" not in err
    assert "goes on from here" in err
    states = [home.directory / f"home/config/workspaces/{name}/state.json" for name in NAMES]
    begun = [json.loads(path.read_text()) for path in states if path.exists()]
    assert [(state["phase"], state["transition"]) for state in begun] == [("configured", None)] * 2
    assert {state["last_error"]["kind"] for state in begun} == {"interrupted"}
    heal(home)


def test_a_second_signal_ends_it_at_once_and_each_member_resumes(home: Home) -> None:
    stubborn = {"SIMULATED_STUBBORN": "1", "SIMULATED_HANG": "during exec:pull"}
    with home.start("fleet", "up", "--parallel", "2", **stubborn) as child:
        home.await_lines("hanging", 2, child)
        child.send_signal(signal.SIGTERM)
        home.await_file("stubborn", child)
        assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=PATIENCE)
    assert child.returncode == 143
    heal(home)


def test_output_that_nobody_reads_any_more_does_not_stop_the_work(home: Home) -> None:
    with home.start("fleet", "up", SIMULATED_PACE="0.02") as child:
        home.await_file("calls.log", child)
        assert child.stderr is not None
        child.stderr.close()
        assert child.stdout is not None
        assert child.stdout.read() == "4 members: 4 healthy\n"
    assert child.returncode == 0
