"""The console is written by the guest: shown cleaned, cut and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from polis.drivers import terminaltext
from polis.drivers.qemu import console


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("[\x1b[0;32m  OK  \x1b[0m] Started ssh.service.", "[  OK  ] Started ssh.service."),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]52;c;ZXZpbA==\x1b\\clip", "clip"),
        ("a\x00b\x07c\x9b31md", "abc31md"),
        ("\x1bc\x1b[?7l\x1b[2JBooting", "Booting"),
        ("\u202eevil\u2028x", "evilx"),
        ("a\tb", "a b"),
        ("\x1b(Bplain", "plain"),
        ("   ", ""),
    ],
)
def test_clean(raw: str, shown: str) -> None:
    assert terminaltext.clean(raw) == shown


def test_long_lines_are_cut() -> None:
    assert len(terminaltext.clean("x" * 10_000)) == terminaltext.WIDTH


def test_tail_shows_only_the_current_start(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    console.begin(path)
    with path.open("a") as file:
        file.write("first boot\r\n")
    console.begin(path)
    with path.open("ab") as file:
        file.write(b"\r\n\x1b[1msecond\x1b[0m boot\r\n\r\ndown\rupper\xff\n")
    assert console.tail(path, 15) == ("second boot", "down", "upper\ufffd")
    assert console.tail(path, 1) == ("upper\ufffd",)
    assert path.stat().st_mode & 0o777 == 0o600


def test_tail_of_nothing(tmp_path: Path) -> None:
    assert console.tail(tmp_path / "none", 5) == ()


def test_only_the_end_of_a_large_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_bytes(b"x\n" * console.TAIL + b"last\n")
    assert console.tail(path, 1) == ("last",)
    assert len(console.tail(path, 10**9)) <= console.TAIL


def test_a_large_file_is_set_aside_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_bytes(b"x" * (console.LIMIT + 1))
    console.begin(path)
    assert path.stat().st_size < 200
    assert (tmp_path / "console.log.1").stat().st_size > console.LIMIT


def test_a_panic_is_found_behind_the_reboot_that_followed(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    console.begin(path)
    with path.open("a") as file:
        file.write("[ 9.1] Kernel panic - not syncing: Fatal exception\n" + "booting\n" * 30)
    assert console.panic(path) == "[ 9.1] Kernel panic - not syncing: Fatal exception"
    assert console.panic(tmp_path / "none") == ""
