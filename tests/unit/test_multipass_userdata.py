"""The cloud-init document on its way: parsed and written again by Multipass, it must mean what it meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from polis.drivers.multipass import userdata
from polis.errors import ConfigurationError
from tests.fakes.multipass.documents import rewritten

SHIPPED = Path(__file__).parents[2] / "polis" / "cloudinit" / "cloud-init.yaml"


def arrived(text: str) -> dict[str, Any]:
    """Return what cloud-init reads in the guest, without what polis and Multipass add."""
    document: dict[str, Any] = yaml.safe_load(rewritten(userdata.prepared(text, "owner-1", system="linux")))
    stamp = document["write_files"].pop(0)
    assert stamp == {"path": userdata.STAMP, "content": "polis workspace owner-1\n", "permissions": "0o444"}
    if not document["write_files"]:
        del document["write_files"]
    return document


def test_the_shipped_document_arrives_equal() -> None:
    sent = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    assert sent["users"] == ["default"]
    assert arrived(SHIPPED.read_text(encoding="utf-8")) == {**sent, "users": ["default", "default"]}


TEXTS = [
    *("yes", "no", "on", "off", "true", "False", "y", "N", "null", "~", "", "007", "0755", "0o644", "0x1F", "0b11"),
    *("1_000", "1.10", "1e3", "1.0e+3", ".inf", "-.INF", ".nan", "12:30", "12:30:45", "2024-01-01", "123", "+1", "-1"),
    *("2024-01-01 10:00:00", "2024-01-01T10:00:00Z", "=", "<<", ".", "1.", ".5", "plain", "a: b", "# no", "a\nb\n"),
    *(" x ", "'", '"', "\\", "*", "- x", "[a]", "{a}", "%x", "@x", "`x`", "ü€", "yes\n", "tab\tx"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_stays_a_text(text: str) -> None:
    document = yaml.dump({"write_files": [{"path": "/x", "content": text}], "runcmd": [["echo", text]]})
    found = arrived(document)
    assert found["write_files"][0]["content"] == text
    assert found["runcmd"] == [["echo", text]]


def test_a_tag_that_the_user_wrote_stays() -> None:
    assert arrived('a: !!str "0600"\nb: !!str 12\nc: 12\n') == {"a": "0600", "b": "12", "c": 12}


def test_the_fake_drops_quotes_as_multipass_does() -> None:
    """Otherwise the tests above would show nothing. The document and the result are those of the observation."""
    found = yaml.safe_load(rewritten('a: "yes"\nb: "0755"\nc: "007"\nd: !!str "0600"\ne: "on: off"\n'))
    assert found == {"a": True, "b": 493, "c": 7, "d": "0600", "e": "on: off"}


def test_what_multipass_appends() -> None:
    document = "users:\n- {name: ubuntu}\npackages: [curl]\n"
    assert arrived(document) == {"users": [{"name": "ubuntu"}, "default"], "packages": ["curl", "pollinate"]}


@pytest.mark.parametrize(
    ("document", "system", "said"),
    [
        ("users: ubuntu\n", "linux", "`users` is not a list"),
        ("users: {name: x}\n", "linux", "`users` is not a list"),
        ("ssh_authorized_keys: ssh-rsa AAAA\n", "darwin", "`ssh_authorized_keys` is not a list"),
        ("packages: curl\n", "linux", "`packages` is not a list"),
        ("system_info: {default_user: {name: me}}\n", "linux", "is not ubuntu"),
        ("hostname: x\n", "win32", "Hyper-V"),
    ],
)
def test_a_document_that_would_lock_multipass_out(document: str, system: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        userdata.prepared(document, "o", system=system)
    assert said in caught.value.cause


@pytest.mark.parametrize("document", ["- a\n", "a: [\n", "write_files: x\n", "just text"])
def test_what_is_no_document(document: str) -> None:
    with pytest.raises(ConfigurationError):
        userdata.prepared(document, "o", system="linux")


def test_a_host_name_is_fine_where_no_name_service_depends_on_it() -> None:
    assert "hostname: x" in userdata.prepared("hostname: x\n", "o", system="linux")


@pytest.mark.parametrize(
    ("content", "owner"),
    [("polis workspace abc\n", "abc"), ("", ""), ("cat: no such file", ""), ("polis workspace \n", "")],
)
def test_the_owner_in_the_stamp(content: str, owner: str) -> None:
    assert userdata.owner(content) == owner
