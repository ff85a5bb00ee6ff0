from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from polis import process
from polis.errors import DriverMissing
from polis.process import ProcessTimeout

pytestmark = pytest.mark.processes


def python(code: str, **options: object) -> process.Completed:
    return process.run([sys.executable, "-c", code], **{"timeout": 30.0, **options})  # type: ignore[arg-type]


def test_exit_code_and_both_streams_come_back_apart() -> None:
    done = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (done.code, done.stdout, done.stderr, done.ok) == (3, "out\n", "err\n", False)


@pytest.mark.parametrize(("deed", "code"), [("sys.exit(255)", 255), ("os.kill(os.getpid(), 15)", 143)])
def test_a_command_on_the_caller_s_terminal_ends_with_what_a_process_can_end_with(deed: str, code: int) -> None:
    assert process.interactive([sys.executable, "-c", f"import os, sys; {deed}"]) == code


def test_stdin_is_closed_unless_given() -> None:
    assert python("import sys; print(repr(sys.stdin.read()))").stdout == "''\n"
    assert python("import sys; print(sys.stdin.read())", stdin=b"given").stdout == "given\n"


def test_the_locale_is_fixed() -> None:
    assert python("import os; print(os.environ['LC_ALL'], os.environ['LANG'])").stdout == "C.UTF-8 C.UTF-8\n"


def test_a_missing_binary_is_our_error() -> None:
    with pytest.raises(DriverMissing, match="no-such-tool is not installed") as caught:
        process.run(["no-such-tool"], timeout=1)
    assert caught.value.exit_code == 69


def test_a_child_that_outlives_its_limit_is_ended_with_all_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"open({str(note)!r}, 'w').write(str(child.pid)); print('begun', flush=True); time.sleep(600)"
    )
    with pytest.raises(ProcessTimeout) as caught:
        python(code, timeout=2.0)
    assert caught.value.completed.stdout == "begun\n"
    assert gone(int(note.read_text()))


def test_an_interruption_ends_the_child_first() -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        python("import os, time; print(os.getpid(), flush=True); time.sleep(600)", on_line=interrupt)
    assert gone(pids[0])


def gone(pid: int) -> bool:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        os.sched_yield()
    return False


def test_lines_come_while_the_child_runs() -> None:
    lines: list[str] = []
    python("print('one', flush=True); print('two')", on_line=lines.append)
    assert lines == ["one", "two"]


def test_endless_output_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "OUTPUT_LIMIT", 1000)
    done = python("print('x' * 99, end='\\n' * 1); [print('y' * 99) for _ in range(1000)]")
    assert len(done.stdout) <= 1100


def test_a_background_child_that_keeps_the_pipe_open_does_not_hang_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "KILL_GRACE", 0.2)
    code = (
        "import subprocess, sys; print('done', flush=True);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True);"
        "print(child.pid, file=sys.stderr, flush=True)"
    )
    done = python(code)
    assert done.stdout == "done\n"
    psutil.Process(int(done.stderr)).kill()


def test_a_character_across_the_cut_of_a_long_line_survives() -> None:
    script = f"import sys; sys.stdout.buffer.write(b'x' * {process.LINE_LIMIT - 1} + 'é'.encode() + b'\\n\\xc3')"
    done = process.run([sys.executable, "-c", script], timeout=30)
    assert done.stdout == "x" * (process.LINE_LIMIT - 1) + "é\n\N{REPLACEMENT CHARACTER}"
