"""What is refused or warned of in a user's cloud-init document, each with its place."""

from __future__ import annotations

import pytest

from polis.cloudinit import checking
from polis.errors import ConfigurationError

MINIMAL = "#cloud-config\nusers: [default]\nruncmd:\n- touch /var/lib/polis/provisioned.json\n"


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        checking.check(text, "my.yaml")
    assert caught.value.exit_code == 78
    return f"{caught.value.message}\n{caught.value.cause}"


def test_a_minimal_document_is_accepted_without_a_word() -> None:
    assert checking.check(MINIMAL, "my.yaml") == []


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("", "my.yaml:1:1", "#cloud-config"),
        ("users: [default]\n", "my.yaml:1:1", "#cloud-config"),
        ("## template: jinja\n#cloud-config\n", "my.yaml:1:1", "#cloud-config"),
        ("#!/bin/sh\necho\n", "my.yaml:1:1", "#cloud-config"),
        ("#cloud-config\nruncmd: [a\nb: c]\n", "my.yaml:3:", "expected"),
        ("#cloud-config\na: b: c\n", "my.yaml:2:5", "mapping values"),
        ("#cloud-config\n\tkey: value\n", "my.yaml:2:1", "cannot start any token"),
        ("#cloud-config\na: 1\na: 2\n", "my.yaml:3:1", "duplicate key"),
        ("#cloud-config\na: 1\n---\nb: 2\n", "my.yaml:3:1", "another document"),
        ("#cloud-config\n- a\n- b\n", "my.yaml:2:1", "mapping"),
        ("#cloud-config\n", "my.yaml:2:1", "mapping"),
        ("#cloud-config\nbootcmd: [-_]\n", "my.yaml", "not readable as YAML"),
        (f"{MINIMAL}users:\n  name: x\n".replace("users: [default]\n", ""), "my.yaml:4:1", "must be a list"),
        (MINIMAL.replace("[default]", "[{name: ubuntu}]"), "my.yaml:2:1", "must contain `default`"),
        (MINIMAL.replace("[default]", "[]"), "my.yaml:2:1", "must contain `default`"),
        (f"{MINIMAL}ssh_authorized_keys: ssh-ed25519 AAAA\n", "my.yaml:5:1", "must be a list"),
        (
            MINIMAL.replace("[default]", "[default, {name: x, ssh_authorized_keys: k}]"),
            "my.yaml:2:28",
            "must be a list",
        ),
        (f"{MINIMAL}user: bob\n", "my.yaml:5:1", "default user"),
        (f"{MINIMAL}system_info:\n  default_user: {{name: bob}}\n", "my.yaml:6:3", "whom polis logs in as"),
        (f"{MINIMAL}power_state: {{mode: reboot}}\n", "my.yaml:5:1", "switches the VM off"),
        (f"{MINIMAL}package_reboot_if_required: true\n", "my.yaml:5:1", "reboot"),
    ],
)
def test_what_is_refused(text: str, place: str, reason: str) -> None:
    told = refusal(text)
    assert place in told
    assert reason in told


def test_all_reasons_are_told_at_once_in_their_order() -> None:
    told = refusal("#cloud-config\nusers: {}\npower_state: {}\nuser: x\n")
    assert "3 reasons" in told
    assert told.index("my.yaml:2:1") < told.index("my.yaml:3:1") < told.index("my.yaml:4:1")


def test_a_document_beyond_the_limit_is_refused() -> None:
    assert "larger than" in refusal(MINIMAL + "#" * 70_000)


@pytest.mark.parametrize(
    ("line", "place", "reason"),
    [
        ("hostname: x", "my.yaml:5:1", "Hyper-V"),
        ("fqdn: x.example", "my.yaml:5:1", "Hyper-V"),
        ("ssh_pwauth: true", "my.yaml:5:1", "passwords"),
        ("disable_root: false", "my.yaml:5:1", "passwords"),
        ("password: x", "my.yaml:5:1", "password"),
        ("bootcmd: [[systemctl, reboot]]", "my.yaml:5:11", "`reboot`"),
        ("bootcmd:\n- echo ok\n- sleep 1 && /sbin/shutdown -h now", "my.yaml:7:3", "`shutdown`"),
        ("runcmds: []", "my.yaml:5:1", "did you mean `runcmd`?"),
        ("write_file: []", "my.yaml:5:1", "did you mean `write_files`?"),
        ("write_files: [{path: /x, permissions: '0644'}]", "my.yaml:5:39", "a number"),
        ('timezone: "yes"', "my.yaml:5:11", "true or false"),
        ("timezone: '1.10'", "my.yaml:5:11", "a number"),
        ("timezone: '2024-01-01'", "my.yaml:5:11", "a date"),
    ],
)
def test_what_is_warned_of(line: str, place: str, reason: str) -> None:
    (warning,) = checking.check(f"{MINIMAL}{line}\n", "my.yaml")
    assert warning.startswith(place)
    assert reason in warning


@pytest.mark.parametrize(
    "line",
    [
        "packages: [reboot-notifier, shutdown-at-night]",
        "bootcmd: [echo /etc/reboot.d]",
        "write_files: [{path: /x, permissions: '0o644'}]",
        "timezone: 'Europe/Berlin'",
        "timezone: '12:30'",
        "timezone: ''",
        "hostnames_of_mine: x",
    ],
)
def test_what_is_not_worth_a_warning(line: str) -> None:
    assert checking.check(f"{MINIMAL}{line}\n", "my.yaml") == []


def test_a_document_that_never_writes_the_sentinel_is_warned_of() -> None:
    (warning,) = checking.check("#cloud-config\nusers: [default]\n", "my.yaml")
    assert "provisioned.json" in warning
