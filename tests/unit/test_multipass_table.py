"""The table of failures: the tool's words, what they mean, who mends it, and what the user is told on each platform."""

from __future__ import annotations

import pytest

from polis.drivers.multipass import host as hosts
from polis.drivers.multipass import table
from polis.drivers.multipass.failures import classify, words
from polis.drivers.multipass.rows import Kind, Row
from polis.errors import ExitCode, PolisError
from polis.process import Completed
from tests.fakes.multipass.faults import FAULTS, Fault

PLATFORMS = [hosts.Host("linux"), hosts.Host("linux", snap=True), hosts.Host("darwin"), hosts.Host("win32")]
SPECIAL = (table.NO_ANSWER, table.GARBLED, table.KILLED, table.UNRECOGNIZED)

T, P, U = Kind.TRANSIENT, Kind.PERMANENT, Kind.USER
CLASSES: dict[str, tuple[Kind, ExitCode]] = {
    "daemon-down": (T, ExitCode.TRANSIENT),
    "socket-denied": (U, ExitCode.HOST),
    "not-authenticated": (U, ExitCode.HOST),
    "no-root-cert": (T, ExitCode.TRANSIENT),
    "client-cert": (U, ExitCode.HOST),
    "snap-home": (U, ExitCode.HOST),
    "remote-unknown": (T, ExitCode.TRANSIENT),
    "canceled": (T, ExitCode.TRANSIENT),
    "hash-mismatch": (T, ExitCode.INTEGRITY),
    "download-failed": (T, ExitCode.TRANSIENT),
    "copy-failed": (T, ExitCode.PROVISIONING),
    "no-image": (P, ExitCode.CONFIGURATION),
    "no-image-file": (P, ExitCode.CONFIGURATION),
    "disk-below-image": (P, ExitCode.CONFIGURATION),
    "host-disk-full": (U, ExitCode.HOST),
    "already-exists": (P, ExitCode.NOT_FOUND),
    "being-prepared": (T, ExitCode.TRANSIENT),
    "bad-name": (P, ExitCode.CONFIGURATION),
    "bad-size": (P, ExitCode.CONFIGURATION),
    "bad-network": (P, ExitCode.CONFIGURATION),
    "bad-timeout": (P, ExitCode.CONFIGURATION),
    "bad-cloud-init": (P, ExitCode.CONFIGURATION),
    "bad-arguments": (P, ExitCode.CONFIGURATION),
    "client-timeout": (T, ExitCode.PROVISIONING),
    "init-timeout": (T, ExitCode.PROVISIONING),
    "ssh-timeout": (T, ExitCode.PROVISIONING),
    "no-kvm": (U, ExitCode.HOST),
    "other-hypervisor": (U, ExitCode.HOST),
    "dnsmasq": (U, ExitCode.HOST),
    "firewall": (U, ExitCode.HOST),
    "no-hyperv": (U, ExitCode.HOST),
    "no-memory": (U, ExitCode.HOST),
    "too-many-cpus": (P, ExitCode.CONFIGURATION),
    "died-while-starting": (U, ExitCode.PROVISIONING),
    "needs-force": (P, ExitCode.PROVISIONING),
    "deaf-to-shutdown": (U, ExitCode.PROVISIONING),
    "unknown-state": (U, ExitCode.PROVISIONING),
    "suspending": (T, ExitCode.PROVISIONING),
    "feature-missing": (P, ExitCode.HOST),
    "deleted": (P, ExitCode.TRANSIENT),
    "no-instance": (P, ExitCode.TRANSIENT),
    "no-credentials": (T, ExitCode.TRANSIENT),
    "not-running": (T, ExitCode.TRANSIENT),
    "about-to-stop": (T, ExitCode.TRANSIENT),
    "ssh-broken": (T, ExitCode.TRANSIENT),
    "ssh-dropped": (T, ExitCode.TRANSIENT),
    "no-route": (U, ExitCode.TRANSIENT),
    "no-hostname": (U, ExitCode.TRANSIENT),
    "ssh-refused": (T, ExitCode.TRANSIENT),
    "ssh-denied": (U, ExitCode.TRANSIENT),
    "guest-file": (P, ExitCode.PROVISIONING),
    "host-file": (U, ExitCode.HOST),
    "usage": (P, ExitCode.BUG),
    "crashed": (P, ExitCode.HOST),
}


def done(fault: Fault, noise: str = "") -> Completed:
    return Completed(("multipass", fault.verb), fault.code, "\x1b[2K\x1b[0ESpinning  |\x08", noise + fault.stderr, 0.1)


@pytest.mark.parametrize("name", FAULTS)
def test_words_to_meaning(name: str) -> None:
    fault = FAULTS[name]
    failure = classify(fault.verb, done(fault))
    assert failure.row.name == fault.row
    kind, code = CLASSES[fault.row]
    assert failure.row.kind is kind
    for host in PLATFORMS:
        error = failure.error("it failed", host)
        assert error.exit_code == code
        assert error.hint, "every error has a next command"
        assert error.cause.splitlines()[-1].removeprefix(f"{fault.verb} failed: ") in fault.stderr
        if kind is Kind.USER:
            assert host.pick(failure.row.hint), f"{host}: the user must act, and is not told how"


BLUEPRINTS = (
    "[2026-11-23T02:19:48.445] [error] [blueprint provider] Error fetching Blueprints: failed to download from "
    "'https://codeload.github.com/x': Error opening https://codeload.github.com/x\n"
    "[2026-11-23T02:19:48.445] [error] [url downloader] Failed to get https://x: Host x not found\n"
)


@pytest.mark.parametrize("name", FAULTS)
def test_the_log_lines_of_a_machine_without_internet_change_no_meaning(name: str) -> None:
    fault = FAULTS[name]
    assert classify(fault.verb, done(fault, BLUEPRINTS)).row.name == fault.row


def test_every_row_is_met() -> None:
    assert {fault.row for fault in FAULTS.values()} == {row.name for row in table.ROWS} == set(CLASSES)


@pytest.mark.parametrize("row", [*table.ROWS, *SPECIAL], ids=lambda row: str(row.name))
def test_a_row_s_hint_names_every_platform_or_none(row: Row) -> None:
    if not isinstance(row.hint, str):
        assert all(host.pick(row.hint) for host in PLATFORMS)
    assert issubclass(row.error, PolisError)


def test_an_unknown_text_is_shown_and_nothing_is_assumed() -> None:
    failure = classify("launch", Completed(("multipass",), 2, "", "launch failed: the moon is full\n", 0.1))
    assert failure.row is table.UNRECOGNIZED
    error = failure.error("polis cannot be created", PLATFORMS[0])
    assert error.cause == "launch failed: the moon is full"
    assert error.exit_code is ExitCode.PROVISIONING


def test_a_call_without_words_says_what_was_called() -> None:
    failure = classify("stop", Completed(("multipass",), 2, "", "", 0.1))
    assert failure.error("x", PLATFORMS[0]).cause == "multipass stop ended with 2 and said nothing"


def test_a_time_out_s_words_need_its_exit_code() -> None:
    told = "Timed out waiting for instance launch.\n"
    assert classify("launch", Completed(("multipass",), 2, "", told, 0.1)).row is table.UNRECOGNIZED


LOCALE = """Detected locale "C" with character encoding "ANSI_X3.4-1968", which is not UTF-8.
Qt depends on a UTF-8 locale, and has switched to "C.UTF-8" instead.
If this causes problems, reconfigure your locale. See the locale(1) manual
for more information.
x"""


@pytest.mark.parametrize(
    ("printed", "meant"),
    [
        ("\x1b[2K\x1b[0A\x1b[0EStarting polis  |\x08/\x08-\x08\x1b[2K\x1b[0A\x1b[0E", ""),
        ("\x1b[2K\x1b[0ECreating polis  |\x08/\x08\x1b[2K\x1b[0ELaunched: polis\n\x1b[2K\x1b[0A", "Launched: polis"),
        ("exec failed: a\nexec failed: a\n", "exec failed: a"),
        ("launch failed: The following errors occurred:\nx: y\n", "launch failed: x: y"),
        (LOCALE, "x"),
        ("*** Warning! The lxd driver is deprecated and will be removed in an future release. ***\nx", "x"),
        ("a\nb\nc\nd\ne\nf\ng\n", "c\nd\ne\nf\ng"),
    ],
)  # fmt: skip
def test_words(printed: str, meant: str) -> None:
    assert words(printed) == meant
