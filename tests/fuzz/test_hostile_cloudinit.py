"""Whatever a user's cloud-init document holds: accepted, perhaps with warnings, or a ConfigurationError."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polis.cloudinit import checking, document
from polis.cloudinit.overrides import Overrides
from polis.errors import ConfigurationError
from tests.fuzz import hostile_yaml, refusals
from tests.fuzz.effort import examples

SOME = (
    Overrides(registry_ca="x", registry="r"),
    Overrides(proxies=(("http", "http://p.example"),)),
    Overrides(ca_certs=("x",)),
)
HEAD = "#cloud-config\n"
EVERYTHING = Overrides(
    archive="http://mirror.example/ubuntu",
    docker_archive="https://mirror.example/docker",
    docker_key="-----BEGIN PGP PUBLIC KEY BLOCK-----\nabc\n",
    sysbox_places=("https://one.example/sysbox.deb",),
    sysbox_sha256="5" * 64,
    registry_mirror="https://hub.example:5000",
    registry_ca="-----BEGIN CERTIFICATE-----\nregistry\n",
    registry="registry.example:5001",
    proxies=(("http", "http://proxy.example:3128"), ("no", ".example")),
    ca_certs=("-----BEGIN CERTIFICATE-----\none\n",),
)
SHORT = """\
users:
  - default
  - name: operator
    lock_passwd: true
    ssh_authorized_keys: [ssh-ed25519 AAAA]
apt:
  primary: []
write_files:
  - path: /etc/docker/daemon.json
    content: "{}"
  - path: /etc/apt/sources.list.d/docker.list
    content: deb https://download.docker.com/linux/ubuntu noble stable
  - path: /etc/apt/keyrings/docker.asc
    content: key
    permissions: '0644'
  - path: /etc/polis/sysbox.places
    content: https://one.example
  - path: /etc/polis/sysbox.sha256
    content: abc
hostname: polis
timezone: "Europe/Berlin"
system_info:
  default_user: {}
bootcmd: [echo]
runcmd:
  - [touch, /var/lib/polis/provisioned.json]
  - systemctl reboot
"""


def judge(text: str) -> None:
    try:
        warnings = checking.check(text, "my.yaml")
    except ConfigurationError as error:
        refusals.judge(error, naming="my.yaml")
    else:
        assert all(warning.startswith("my.yaml") for warning in warnings)


def edit(text: str, overrides: Overrides) -> None:
    edited = document.Document("my.yaml", text, overrides)
    try:
        checking.check(edited.render(), edited.sent_name)
    except ConfigurationError as error:
        refusals.judge(error)


def texts(body: str) -> st.SearchStrategy[str]:
    return hostile_yaml.spoilt(body).map(lambda data: HEAD + data.decode("utf-8", "replace"))


@examples(200)
@given(text=texts(SHORT) | st.text(max_size=100))
@example(text=HEAD + "a: &itself [*itself]\n")
@example(text=HEAD + "<<: {users: [default], user: x}\n")
@example(text=HEAD + "users: [{<<: {ssh_authorized_keys: x}}]\n")
@example(text=HEAD + "runcmd: !!set {a}\n")
@example(text=HEAD + "runcmd: !!str [reboot]\n")
@example(text=HEAD + 'a: "\\UFFFFFFFF"\n')
@example(text=HEAD + "a: 0001-01-01T00:00:00+23:59\n")
def test_no_document_is_a_traceback(text: str) -> None:
    judge(text)


@examples(80)
@given(text=texts(SHORT))
@example(text=HEAD + "write_files: 5\n")
@example(text=HEAD + "write_files: {}\n")
@example(text=HEAD + "write_files:\n")
@example(text=HEAD + SHORT.replace('"{}"', "'[]'"))
@example(text=HEAD + SHORT.replace('"{}"', "'" + "[" * 3000 + "'"))
@example(text=HEAD + SHORT.replace('"{}"', "5"))
@example(text=HEAD + "!!omap [{a: b}]")
@example(text=HEAD + "a: &itself [*itself]\n" + SHORT)
def test_no_document_breaks_what_is_edited_in_it(text: str) -> None:
    for overrides in (EVERYTHING, *SOME):
        edit(text, overrides)


@pytest.mark.parametrize("bomb", hostile_yaml.BOMBS)
def test_a_bomb_does_no_harm(bomb: str) -> None:
    value = hostile_yaml.BOMBS[bomb]
    for text in (
        f"users: [default]\nx: {value}\n",
        f"users: {value}\n",
        f"runcmd: {value}\n",
        f"write_files: {value}\n",
    ):
        judge(HEAD + text)
        edit(HEAD + text, SOME[0])


@examples(100)
@given(data=hostile_yaml.spoilt(SHORT) | st.binary(max_size=50))
def test_no_file_is_a_traceback(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(data)
    try:
        read = document.read(path)
    except ConfigurationError as error:
        refusals.judge(error, naming="my.yaml")
        return
    judge(read.render())
    assert isinstance(read.addresses(), list)
