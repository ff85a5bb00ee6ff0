"""Linux, the snap, macOS and Windows, by table: what is called, what is told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest

from polis import process
from polis.drivers.base import Artifact, Image
from polis.drivers.multipass import host as hosts
from polis.drivers.multipass import images, remote
from polis.drivers.multipass.client import Client, Order
from polis.drivers.multipass.commands import Commands
from polis.drivers.multipass.driver import MultipassDriver
from polis.drivers.multipass.host import Host
from polis.drivers.multipass.patience import Patience
from polis.errors import ConfigurationError, DriverMissing, GuestUnreachable, HostUnsuitable, IntegrityError
from polis.process import Completed

LINUX, SNAP, MAC, WINDOWS = Host("linux"), Host("linux", snap=True), Host("darwin"), Host("win32")
ALL = [LINUX, SNAP, MAC, WINDOWS]
RUNNING = '{"list": [{"name": "polis", "state": "Running", "ipv4": ["10.0.0.2"]}]}'


class Script:
    """Stands for process.run: notes what is called, answers as it is told."""

    def __init__(self, answer: Callable[[list[str]], tuple[int, str, str]] = lambda _: (0, "", "")) -> None:
        self.answer = answer
        self.calls: list[list[str]] = []
        self.options: list[dict[str, Any]] = []

    def __call__(self, argv: Sequence[str], **options: Any) -> Completed:
        self.calls.append(list(argv))
        self.options.append(options)
        code, stdout, stderr = self.answer(list(argv))
        return Completed(tuple(argv), code, stdout, stderr, 0.1)


@pytest.mark.parametrize(
    ("system", "path", "resolved", "expected"),
    [
        ("linux", "/snap/bin/multipass", "/usr/bin/snap", SNAP),
        ("linux", "/usr/local/bin/multipass", "/usr/bin/snap", SNAP),
        ("linux", "/usr/local/bin/multipass", "/opt/multipass/bin/multipass", LINUX),
        ("linux", None, "", LINUX),
        ("darwin", "/usr/local/bin/multipass", "/Library/x", MAC),
        ("win32", "C:\\Program Files\\Multipass\\bin\\multipass.exe", "", WINDOWS),
    ],
)
def test_what_is_installed(system: str, path: str | None, resolved: str, expected: Host) -> None:
    assert hosts.detect(system, lambda _: path, lambda _: resolved) == expected


@pytest.mark.parametrize("host", ALL)
def test_files_go_through_a_stream_but_on_windows(host: Host, tmp_path: Path) -> None:
    run = Script()
    client = Client(host, run=run)
    client.send("polis", tmp_path / "f", "/tmp/f", limit=1)  # noqa: S108 -- in the guest
    client.fetch("polis", "/tmp/f", tmp_path / "g", limit=1)  # noqa: S108 -- in the guest
    sent, fetched = run.calls
    if host is WINDOWS:
        assert sent == ["multipass", "transfer", str(tmp_path / "f"), "polis:/tmp/f"]
        assert fetched == ["multipass", "transfer", "polis:/tmp/f", str(tmp_path / "g")]
        assert run.options[0]["stdin"] is None
    else:
        assert sent == ["multipass", "transfer", "-", "polis:/tmp/f"]
        assert fetched == ["multipass", "transfer", "polis:/tmp/f", "-"]
        assert (run.options[0]["stdin"], run.options[1]["stdout_to"]) == (tmp_path / "f", tmp_path / "g")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("C:/Users/x y/f", "C:\\Users\\x y\\f"),
        ("C:\\a\\f", "C:\\a\\f"),
        ("\\\\server\\share\\f", "\\\\server\\share\\f"),
    ],
)
def test_a_windows_path_is_given_with_backslashes(path: str, said: str) -> None:
    """With a slash after the colon the drive is taken for an instance of that name."""
    run = Script()
    windows: Any = PureWindowsPath(path)
    Client(WINDOWS, run=run).send("polis", windows, "/tmp/f", limit=1)  # noqa: S108 -- in the guest
    assert run.calls[0][2] == said


@pytest.mark.parametrize(
    ("host", "location", "address"),
    [
        (LINUX, "/srv/x y.img", "file:///srv/x%20y.img"),
        (MAC, "/Users/x/i.img", "file:///Users/x/i.img"),
        (WINDOWS, "C:\\img\\i.img", "file:///C:/img/i.img"),
        (WINDOWS, "D:/img/i.img", "file:///D:/img/i.img"),
    ],
)
def test_image_addresses(host: Host, location: str, address: str) -> None:
    assert images.file_address(location, host) == address


@pytest.mark.parametrize(("host", "location"), [(LINUX, "i.img"), (WINDOWS, "\\i.img"), (WINDOWS, "/srv/i.img")])
def test_an_image_s_path_must_be_absolute(host: Host, location: str) -> None:
    with pytest.raises(ConfigurationError):
        images.file_address(location, host)


def test_images(tmp_path: Path) -> None:
    told: list[str] = []
    file = tmp_path / "i.img"
    file.write_bytes(b"image")
    good = Artifact(str(file), hashlib.sha256(b"image").hexdigest())
    assert images.argument(Image(good, alias="24.04"), LINUX, told.append) == "24.04"
    assert images.argument(Image(good), LINUX, told.append) == file.as_uri()
    assert not told
    assert images.argument(Image(Artifact("https://x/i.img", "0")), LINUX, told.append) == "https://x/i.img"
    assert "https://x/i.img" in told[0], "Multipass compares no hash there, which the user is told"
    for bad, error in (
        (Artifact(str(file), "0" * 64), IntegrityError),
        (Artifact("ftp://x/i.img", "0"), ConfigurationError),
        (Artifact(str(tmp_path / "none"), "0"), ConfigurationError),
    ):
        with pytest.raises(error):
            images.argument(Image(bad), LINUX, told.append)
    with pytest.raises(HostUnsuitable):
        images.refuse_unbootable(Image(good, kernel=good))
    assert images.from_releases("24.04") == "release:24.04"
    assert images.from_releases("file:///i.img") == "file:///i.img"
    assert [images.size(n) for n in (8 * 1024**3, 1536 * 1024**2, 3 * 1024, 1025)] == ["8G", "1536M", "3K", "1025B"]


def test_argument_lists() -> None:
    run = Script(lambda argv: (0, '{"list": [], "multipass": "1.16.3", "info": {"p": {}}}', ""))
    client = Client(LINUX, run=run)
    client.version(limit=1)
    client.list(limit=1)
    client.info("p", limit=1)
    client.launch(Order(name="p", image="24.04", cpus=2, memory="2G", disk="9G", user_data="é", wait=9), limit=1)
    client.start("p", wait=7, limit=1)
    client.stop("p", limit=1)
    client.stop("p", limit=1, force=True)
    client.cancel_shutdown("p", limit=1)
    client.purge("p", limit=1)
    client.refresh_images(limit=1)
    client.exec("p", ["ls", "-l"], limit=1)
    assert [" ".join(call[1:]) for call in run.calls] == [
        "version --format json",
        "list --format json",
        "info --format json p",
        "launch --name p --cpus 2 --memory 2G --disk 9G --timeout 9 --cloud-init - 24.04",
        "start --timeout 7 p",
        "stop p",
        "stop --force p",
        "stop --cancel p",
        "delete --purge p",
        "find --force-update",
        "exec -n p -- ls -l",
    ]
    assert [options.get("stdin") for options in run.options if options.get("stdin")] == ["é".encode()]
    assert all(options["timeout"] == 1 for options in run.options)


@pytest.mark.parametrize("host", ALL)
def test_a_missing_tool_is_told_with_this_platform_s_remedy(host: Host) -> None:
    def missing(argv: list[str]) -> tuple[int, str, str]:
        raise DriverMissing("multipass is not installed")

    with pytest.raises(DriverMissing, match="Multipass is not installed") as caught:
        MultipassDriver(client=Client(host, run=Script(missing))).version()
    assert caught.value.hint == hosts.INSTALL["linux" if host is SNAP else host.system]


@pytest.mark.parametrize(
    ("client", "daemon", "old"),
    [("1.15.1", "1.15.1", "1.15.1"), ("1.16.3", "1.14.0+mac", "1.14.0+mac"), ("1.9.0", "", "1.9.0")],
)
def test_a_version_that_is_too_old(client: str, daemon: str, old: str) -> None:
    answer = f'{{"multipass": "{client}"' + (f', "multipassd": "{daemon}"' if daemon else "") + "}"
    with pytest.raises(DriverMissing, match=old.replace("+", "\\+")) as caught:
        MultipassDriver(client=Client(MAC, run=Script(lambda _: (0, answer, "")))).version()
    assert "brew upgrade" in caught.value.hint


@pytest.mark.parametrize("version", ["1.16.0", "1.16.3+mac", "1.17.0-dev.12+g1a2b3c4", "2.0.0+win"])
def test_a_version_that_is_new_enough(version: str) -> None:
    answer = f'{{"multipass": "{version}", "multipassd": "{version}", "update": {{}}}}'
    found = MultipassDriver(client=Client(WINDOWS, run=Script(lambda _: (0, answer, "")))).version()
    assert found.client == version


# ---- Windows: output above 4096 bytes may hang in a pipe, so it is left in files


class Windows(Script):
    """A guest whose output is so long that it lies in files."""

    def __init__(self, *, arrives: bool = True) -> None:
        super().__init__(self.speak)
        self.arrives = arrives

    def speak(self, argv: list[str]) -> tuple[int, str, str]:
        if argv[1] == "list":
            return 0, RUNNING, ""
        if argv[1] == "transfer":
            Path(argv[3]).write_text(f"the guest's {argv[2][-3:]}\n")
            return (0, "", "") if self.arrives else (2, "", "transfer failed: cannot connect to the multipass socket\n")
        if argv[5] == "rm":
            return 0, "", ""
        nonce = argv[9]
        return 0, f"spinner{nonce}+\n", f"{nonce}+\n{nonce}=3 /tmp/tmp.x\n"


def commands(run: Script) -> Commands:
    driver = MultipassDriver(client=Client(WINDOWS, run=run), patience=Patience(daemon=0.0, look=0.0, glance=0.0))
    return driver._commands


def test_long_output_is_fetched_as_files_on_windows() -> None:
    run = Windows()
    lines: list[str] = []
    done = commands(run).exec("polis", ["x"], timeout=9, on_line=lines.append)
    assert (done.code, done.stdout, done.stderr) == (3, "the guest's out\n", "the guest's err\n")
    assert lines == ["the guest's out"]
    assert [call[1] for call in run.calls] == ["list", "exec", "transfer", "transfer", "exec"]
    assert run.calls[-1][5:] == ["rm", "-rf", "--", "/tmp/tmp.x"]  # noqa: S108 -- in the guest
    assert run.calls[1][8:9] != run.calls[1][9:10]
    assert remote._FILED in run.calls[1]


def test_output_that_does_not_arrive_never_makes_the_command_run_again() -> None:
    run = Windows(arrives=False)
    with pytest.raises(GuestUnreachable):
        commands(run).exec("polis", ["x"], timeout=9)
    assert [call[1] for call in run.calls] == ["list", "exec", "transfer"]


@pytest.mark.parametrize("host", [LINUX, SNAP, MAC])
def test_elsewhere_output_is_streamed(host: Host) -> None:
    assert host.output_limit is None
    assert remote.wrapped(["x"], nonce="n", limit=1, filed=False)[2] == remote._STREAMED


def test_the_client_runs_where_a_confined_one_can_see_and_never_in_a_missing_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = Script(lambda _: (0, '{"list": []}', ""))
    monkeypatch.setenv("HOME", str(tmp_path))
    Client(SNAP, run=run).list(limit=1)
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    Client(SNAP, run=run).list(limit=1)
    assert [options["cwd"] for options in run.options] == [tmp_path, None]


def test_process_run_fits_the_client() -> None:
    assert Client(LINUX)._run is process.run
