"""ssh: its options, its exit codes, its connection."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from polis.drivers.qemu import host, remote, ssh, transfer
from polis.drivers.qemu.ssh import Endpoint, Ssh
from polis.errors import ConfigurationError, ExecTimeout, GuestCommandFailed, GuestUnreachable
from polis.process import Completed, ProcessTimeout


@dataclass
class Script:
    """Stands in for process.run: plays one answer for each guest command, and notes what was asked.

    An answer is (code, stdout, stderr); `{n}` in stderr is the nonce of the call.
    """

    endpoint: Endpoint
    answers: list[tuple[int, str, str] | Exception] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)
    masters: list[int] = field(default_factory=list)
    started: int = 0
    seconds: float = 0.1

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | Path | None = None,
        stdout_to: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        words = list(argv)
        self.calls.append(words)
        if "-M" in words:
            self.started += 1
            code = self.masters.pop(0) if self.masters else 0
            if code:
                self.endpoint.log.write_text("ssh: connect to host 127.0.0.1 port 1: Connection refused\n")
            return Completed(tuple(words), code, "", "", 0.1)
        if "-O" in words:
            return Completed(tuple(words), 0, "", "", 0.1)
        nonce = shlex.split(words[-1])[4]
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        code, stdout, stderr = answer
        for line in stdout.splitlines() if on_line else ():
            on_line(line)  # type: ignore[misc]
        if stdout_to is not None:
            stdout_to.write_text(stdout)
        return Completed(tuple(words), code, stdout, stderr.replace("{n}", nonce), self.seconds)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    # A socket's path must be short, shorter than pytest's directories are on some systems.
    with tempfile.TemporaryDirectory(prefix="s") as directory:
        base = Path(directory)
        yield Endpoint(
            port=40022,
            user="ubuntu",
            alias="polis-ws",
            key=base / "id_ed25519",
            known_hosts=base / "known_hosts",
            control=base / "c.ssh",
            log=base / "ssh.log",
        )


@pytest.fixture
def script(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Script:
    monkeypatch.setattr(host, "require", lambda name: name)
    return Script(endpoint)


@pytest.fixture
def client(script: Script, endpoint: Endpoint) -> Ssh:
    return Ssh(endpoint, run=script)


def test_options_trust_nothing_but_ours(endpoint: Endpoint) -> None:
    words = ssh.options(endpoint)
    assert words[:2] == ["-F", "none"]
    for expected in (
        "Port=40022",
        "User=ubuntu",
        "StrictHostKeyChecking=yes",
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "ForwardAgent=no",
        "ForwardX11=no",
        "HostKeyAlias=polis-ws",
        "GlobalKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        f"UserKnownHostsFile={endpoint.known_hosts}",
    ):
        assert expected in words


def test_a_client_of_the_user_s_own_trusts_nothing_else_and_lends_nothing(endpoint: Endpoint) -> None:
    told = ssh.public_options(endpoint)
    assert (told["HostName"], told["Port"], told["User"]) == ("127.0.0.1", "40022", "ubuntu")
    assert (told["IdentityFile"], told["IdentitiesOnly"]) == (str(endpoint.key), "yes")
    assert (told["UserKnownHostsFile"], told["GlobalKnownHostsFile"]) == (str(endpoint.known_hosts), "/dev/null")
    assert (told["HostKeyAlias"], told["StrictHostKeyChecking"]) == ("polis-ws", "yes")
    assert (told["ForwardAgent"], told["ForwardX11"]) == ("no", "no")
    assert not {"BatchMode", "ClearAllForwardings", "ControlPath"} & set(told), "editors ask, forward and share"


@pytest.mark.parametrize("code", [0, 1, 2, 4, 126, 127, 130, 255])
def test_the_command_s_own_exit_code(client: Ssh, script: Script, code: int) -> None:
    script.answers = [(code, "out\n", f"{{n}}+\nerr\n{{n}}={code}\n")]
    done = client.exec(["x", "y"], timeout=9)
    assert (done.argv, done.code, done.stdout, done.stderr) == (("x", "y"), code, "out\n", "err\n")


def test_marks_are_taken_out_even_without_a_newline_before_them(client: Ssh, script: Script) -> None:
    script.answers = [(255, "", "{n}+\nno newline{n}=255\n")]
    done = client.exec(["x"], timeout=9)
    assert (done.code, done.stderr) == (255, "no newline")


def test_ssh_s_own_255_is_unreachable_with_its_words(client: Ssh, script: Script) -> None:
    words = "kex_exchange_identification: read: Connection reset by peer\n"
    script.answers = [(255, "", words), (255, "", words)]
    with pytest.raises(GuestUnreachable, match="Connection reset by peer"):
        client.exec(["x"], timeout=9)
    assert script.started == 2


def test_a_command_that_never_began_is_sent_once_more(client: Ssh, script: Script) -> None:
    script.answers = [(255, "", "mux_client_request_session: read from master failed\n"), (0, "", "{n}+\n{n}=0\n")]
    assert client.exec(["x"], timeout=9).ok


def test_a_command_that_began_is_never_sent_again(client: Ssh, script: Script) -> None:
    script.answers = [(255, "", "{n}+\nConnection to 127.0.0.1 closed by remote host.\n")]
    with pytest.raises(GuestUnreachable, match="closed by remote host"):
        client.exec(["reboot"], timeout=9)


def test_an_end_mark_lost_in_a_flood_of_output(client: Ssh, script: Script) -> None:
    script.answers = [(3, "", "{n}+\n" + "e" * 1000)]
    assert client.exec(["x"], timeout=9).code == 3


@pytest.mark.parametrize("code", [124, 137])
def test_a_limit_that_was_reached_in_the_guest(client: Ssh, script: Script, code: int) -> None:
    script.seconds = 9.1
    script.answers = [(code, "", f"{{n}}+\nlast words\n{{n}}={code}\n")]
    with pytest.raises(ExecTimeout, match="sleep did not end within 9 s") as caught:
        client.exec(["sleep", "99"], timeout=9)
    assert caught.value.cause == "last words"


def test_124_before_the_limit_is_the_command_s_own(client: Ssh, script: Script) -> None:
    script.answers = [(124, "", "{n}+\n{n}=124\n")]
    assert client.exec(["x"], timeout=9).code == 124


def test_a_connection_that_hangs(client: Ssh, script: Script) -> None:
    hanging = ProcessTimeout(Completed(("ssh",), -15, "", "", 30.0), 24.0)
    script.answers = [hanging]
    with pytest.raises(ExecTimeout):
        client.exec(["x"], timeout=9)


def test_on_line_is_passed_on(client: Ssh, script: Script) -> None:
    script.answers = [(0, "a\nb\n", "{n}+\n{n}=0\n")]
    lines: list[str] = []
    client.exec(["x"], timeout=9, on_line=lines.append)
    assert lines == ["a", "b"]


def test_one_master_is_started_apart_from_the_caller_s_pipes(client: Ssh, script: Script, endpoint: Endpoint) -> None:
    script.answers = [(0, "", "{n}+\n{n}=0\n")]
    client.exec(["x"], timeout=9)
    master = script.calls[0]
    assert master[:2] == ["sh", "-c"]
    assert "</dev/null" in master[2]
    assert master[3] == str(endpoint.log)
    assert {"-M", "-N", "-f"} <= set(master)
    assert "ControlMaster=no" in script.calls[1]


def test_a_master_that_listens_is_used(client: Ssh, script: Script, endpoint: Endpoint) -> None:
    script.answers = [(0, "", "{n}+\n{n}=0\n")]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(endpoint.control))
        listener.listen(1)
        client.exec(["x"], timeout=9)
    assert script.started == 0


def test_a_stale_socket_is_replaced(client: Ssh, script: Script, endpoint: Endpoint) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(endpoint.control))
    script.answers = [(0, "", "{n}+\n{n}=0\n")]
    client.exec(["x"], timeout=9)
    assert script.started == 1
    assert not endpoint.control.exists()


def test_a_master_that_cannot_connect(client: Ssh, script: Script) -> None:
    script.masters = [255]
    with pytest.raises(GuestUnreachable, match="Connection refused"):
        client.exec(["x"], timeout=9)


def test_disconnect_without_a_master(client: Ssh, script: Script) -> None:
    client.disconnect()
    assert script.calls == []


def test_a_terminal_is_asked_for_only_on_a_terminal(client: Ssh, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def __init__(self, *, terminal: bool) -> None:
            self.terminal = terminal

        def isatty(self) -> bool:
            return self.terminal

    monkeypatch.setattr(sys, "stdin", Stream(terminal=True))
    monkeypatch.setattr(sys, "stdout", Stream(terminal=True))
    assert "-t" in client.interactive_argv([])
    assert client.interactive_argv([])[-2:] == ["--", "127.0.0.1"]
    monkeypatch.setattr(sys, "stdout", Stream(terminal=False))
    words = client.interactive_argv(["echo", "a b"])
    assert "-T" in words
    assert words[-1] == "echo 'a b'"


def test_push_streams_a_file_and_sends_its_hash(client: Ssh, script: Script, tmp_path: Path) -> None:
    source = tmp_path / "bundle.tar"
    source.write_bytes(b"x" * 100)
    script.answers = [(0, "", "{n}+\n{n}=0\n")]
    transfer.push(client, source, "/opt/polis/b 1.tar", 0o640)
    words = shlex.split(script.calls[-1][-1])
    assert "/opt/polis/b 1.tar" in words
    assert "640" in words
    assert any(re.fullmatch("[0-9a-f]{64}", word) for word in words)


def test_push_that_the_guest_refuses(client: Ssh, script: Script, tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.touch()
    script.answers = [(2, "", "{n}+\ncannot create /x/f: Directory nonexistent\n{n}=2\n")]
    with pytest.raises(GuestCommandFailed, match="Directory nonexistent"):
        transfer.push(client, source, "/x/f", 0o600)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        transfer.push(client, tmp_path / "none", "/x", 0o600)
    with pytest.raises(ValueError, match="not an absolute path"):
        transfer.push(client, source, "x", 0o600)


def test_pull_replaces_the_target_only_when_all_came(client: Ssh, script: Script, tmp_path: Path) -> None:
    target = tmp_path / "t"
    target.write_text("old")
    script.answers = [(1, "half", "{n}+\ncat: /x: No such file or directory\n{n}=1\n")]
    with pytest.raises(GuestCommandFailed, match="No such file"):
        transfer.pull(client, "/x", target)
    assert target.read_text() == "old"
    script.answers = [(0, "new", "{n}+\n{n}=0\n")]
    transfer.pull(client, "/x", target)
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".t.")] == []


def in_shell(line: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["bash", "-c", line], input=stdin, capture_output=True, timeout=30, check=False)
    return subprocess.CompletedProcess(line, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.processes
@pytest.mark.parametrize(
    ("argv", "code", "stdout", "stderr"),
    [
        (["true"], 0, "", ""),
        (["sh", "-c", "echo out; echo err >&2; exit 3"], 3, "out\n", "err\n"),
        (["sh", "-c", "exit 255"], 255, "", ""),
        (["sh", "-c", "kill -TERM $$"], 143, "", ""),
        (["sh", "-c", "kill -KILL $$"], 137, "", ""),
        (["printf", "%s|", "a b", "", "'", '"', "$HOME", "*", "\n", "ü", "\\", ";", "-n"], 0, None, ""),
        (["cat"], 0, "", ""),
    ],
)
def test_the_guest_s_half_in_a_real_shell(argv: list[str], code: int, stdout: str | None, stderr: str) -> None:
    done = in_shell(remote.wrapped(argv, nonce="n0nce", limit=20))
    answer = remote.read(done.stderr, "n0nce")
    assert (answer.begun, answer.code, answer.stderr) == (True, code, stderr)
    assert done.stdout == ("".join(f"{word}|" for word in argv[2:]) if stdout is None else stdout)


@pytest.mark.processes
def test_a_missing_command_in_a_real_shell() -> None:
    done = in_shell(remote.wrapped(["no-such-command"], nonce="n0nce", limit=20))
    answer = remote.read(done.stderr, "n0nce")
    assert answer.code == 127
    assert "no-such-command" in answer.stderr


@pytest.mark.processes
def test_the_limit_in_a_real_shell() -> None:
    done = in_shell(remote.wrapped(["sleep", "20"], nonce="n0nce", limit=0.1))
    assert remote.read(done.stderr, "n0nce").code == 124


@pytest.mark.processes
def test_receiving_in_a_real_shell(tmp_path: Path) -> None:
    import hashlib

    target, data = tmp_path / "a b'c", b"\x00\xff\n" * 1000
    sha256 = hashlib.sha256(data).hexdigest()
    words = remote.receive(target=str(target), sha256=sha256, mode=0o640, nonce="0123")
    assert in_shell(shlex.join(words), data).returncode == 0
    assert target.read_bytes() == data
    assert target.stat().st_mode & 0o777 == 0o640
    torn = in_shell(shlex.join(words), data[:-1])
    assert (torn.returncode, torn.stderr.strip().splitlines()[-1]) == (74, "arrived damaged")
    assert target.read_bytes() == data
    assert [path.name for path in tmp_path.iterdir() if ".polis-" in path.name] == []
    into = remote.receive(target=str(tmp_path), sha256=sha256, mode=0o640, nonce="0123")
    assert in_shell(shlex.join(into), data).returncode != 0
