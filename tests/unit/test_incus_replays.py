"""Everything that a real LXD 5.0.2 was seen to print, read by the driver's readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polis.drivers.base import Hardware, InstanceState
from polis.drivers.incus import failures, records, table
from polis.drivers.incus.tool import LXD
from polis.drivers.toolcalls import Unreadable
from polis.errors import ConfigurationError, DriverUnavailable, ForeignInstance, HostUnsuitable, PolisError
from polis.process import Completed

DATA = Path(__file__).parents[1] / "data" / "lxd"


def transcripts() -> list[Path]:
    return sorted(DATA.glob("*.json"))


def cases() -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in transcripts()]


@pytest.mark.parametrize("path", transcripts(), ids=lambda path: path.stem)
def test_a_transcript(path: Path) -> None:
    case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    expected: dict[str, Any] = case["expected"]
    done = Completed(("lxc", *case["argv"]), case["code"], case["stdout"], case["stderr"], 0.1)
    if "row" in expected:
        failure = failures.classify(case["argv"][0], done)
        assert (failure.row.name, failure.words) == (expected["row"], expected["words"])
    if "seen" in expected:
        seen = records.seen(done.stdout, "incus")
        wanted = expected["seen"]
        assert seen.instance.state is InstanceState(wanted["state"])
        assert seen.instance.hardware == (Hardware(*wanted["hardware"]) if wanted["hardware"] else None)
        assert (seen.instance.owner, list(seen.instance.ipv4)) == (wanted["owner"], wanted["ipv4"])
        assert (seen.fresh, seen.kind, seen.user) == (wanted["fresh"], wanted["kind"], wanted["user"])
    if "server" in expected:
        server = records.server(done.stdout)
        assert [server.name, server.version, server.vms, server.clustered] == expected["server"]
    for name, answer in expected.get("creating", {}).items():
        assert records.creating(done.stdout, name) is answer


def test_what_can_go_wrong_is_among_them() -> None:
    rows = {case["expected"].get("row") for case in cases()} - {None}
    assert "unrecognized" not in rows
    assert rows >= {
        *("no-rights", "not-authorized", "unknown-remote", "certificate-unknown", "daemon-down", "remote-away"),
        *("no-image", "image-of-other-kind", "download-failed", "no-project", "no-profile", "no-target"),
        *(
            "full",
            "storage-full",
            "no-root-disk",
            "name-refused",
            "port-taken",
            "exists",
            "no-instance",
            "busy",
            "frozen",
            "not-on",
        ),
    }


@pytest.mark.parametrize(
    ("row", "kind", "hint"),
    [
        ("no-rights", HostUnsuitable, "adduser $USER lxd"),
        ("not-authorized", HostUnsuitable, "lxc remote add"),
        ("certificate-unknown", HostUnsuitable, "lxc remote add"),
        ("unknown-remote", ConfigurationError, "lxc remote list"),
        ("no-image", ConfigurationError, "lxc image list"),
        ("storage-full", HostUnsuitable, "lxc storage info"),
        ("full", HostUnsuitable, "lxc cluster list"),
        ("daemon-down", DriverUnavailable, "systemctl restart lxd"),
        ("member-away", DriverUnavailable, "lxc cluster list"),
        ("exists", ForeignInstance, "-n"),
    ],
)
def test_the_class_and_the_next_command(row: str, kind: type[PolisError], hint: str) -> None:
    case = next(case for case in cases() if case["expected"].get("row") == row)
    failure = failures.classify("init", Completed(("lxc",), 1, case["stdout"], case["stderr"], 0.1))
    error = failure.error("polis cannot be created", LXD)
    assert type(error) is kind
    assert error.cause == case["expected"]["words"]
    assert hint in error.hint
    assert "{" not in error.hint


def test_the_first_words_to_a_newcomer_are_not_the_tools_reason() -> None:
    case = next(case for case in cases() if case["case"] == "first words")
    assert "your first container" in case["stderr"]
    assert failures.words(case["stderr"]) == "Error: Instance not found"


def test_incus_in_its_own_words() -> None:
    said = {
        "Error: You don't have the needed permissions to talk to the incus daemon (socket path: /x)": "no-rights",
        "Error: The incus daemon doesn't appear to be started (socket path: /var/lib/incus/unix.socket)": "daemon-down",
        "Error: VM agent isn't currently running": "no-agent",
        'Error: Failed creating instance record: Instance "polis" already exists': "exists",
        "Error: Failed instance creation: No suitable cluster member could be found": "full",
        'Error: Get "https://far:8443": x509: certificate has expired or is not yet valid': "certificate-expired",
        "Error: websocket: close 1006 (abnormal closure): unexpected EOF": "broken-off",
    }
    for words, row in said.items():
        assert failures.classify("init", Completed(("incus",), 1, "", words, 0.1)).row.name == row, words
    assert failures.classify("init", Completed(("incus",), 1, "", "Error: the moon", 0.1)).row is table.UNRECOGNIZED


# ---- what no LXD here ever said


def instance(**more: Any) -> str:
    return json.dumps({"name": "polis", "status": "Running", "config": {}, **more})


@pytest.mark.parametrize("word", records.STATES)
def test_every_state_is_known(word: str) -> None:
    assert records.seen(instance(status=word), "incus").instance.state is records.STATES[word][0]


def test_a_state_of_tomorrow_is_unknown_and_says_so() -> None:
    found = records.seen(instance(status="Dreaming"), "incus").instance
    assert found.state is InstanceState.UNKNOWN
    assert "Dreaming" in found.detail


def test_an_instance_of_somebody_else_has_no_owner_and_no_sizes_of_ours() -> None:
    seen = records.seen(instance(), "incus")
    assert (seen.instance.owner, seen.instance.hardware, seen.instance.ipv4) == (None, None, ())


def test_the_addresses_of_bridges_inside_are_not_its_own() -> None:
    def interface(address: str, host_name: str, scope: str = "global") -> dict[str, Any]:
        return {"host_name": host_name, "addresses": [{"family": "inet", "address": address, "scope": scope}]}

    network = {
        "docker0": interface("172.17.0.1", ""),
        "lo": interface("127.0.0.1", "", "local"),
        "eth0": interface("10.1.2.3", "veth1"),
        "eth1": {"host_name": "veth2", "addresses": None},
        "eth2": interface("fe80::1", "veth3"),
    }
    assert records.seen(instance(state={"network": network}), "incus").instance.ipv4 == ("10.1.2.3",)


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '{"name": 1}', '{"name": "polis", "status": "Running"}'])
def test_what_is_no_instance_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        records.seen(text, "incus")
