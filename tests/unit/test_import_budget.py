"""What quick commands import, by name (`tests/data/imports/`): start-up time, without measuring any.

A list is the budget. To change one on purpose, write all anew with `POLIS_TEST_WRITE=imports`, and look at the
difference: every line is paid for by each prompt that has `polis status` in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polis import assembly, cli
from tests.simulated import SimulatedDriver

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere other modules of the same libraries are needed"),
]

ROOT = Path(__file__).parents[2]
LISTS = ROOT / "tests" / "data" / "imports"

HEAVY = (
    *("asyncio", "concurrent.futures", "email", "http.client", "multiprocessing", "sqlite3", "ssl", "unittest"),
    *("urllib.request", "xml"),
)
"""Modules of the standard library that take long, and that no quick command has a use for."""

PROGRAM = """
import json, sys

class Watch:  # notes for each module who asked for it
    askers = {}

    def find_spec(self, name, path=None, target=None):
        frame = sys._getframe(1)
        while frame is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        self.askers.setdefault(name, frame.f_globals.get("__name__", "?") if frame is not None else "?")
        return None

sys.meta_path.insert(0, Watch())
words, world, report = json.loads(sys.argv[1])
if world is not None:
    from pathlib import Path
    from polis import assembly
    from tests.simulated import SimulatedDriver
    assembly.driver = lambda *_, **__: SimulatedDriver(path=Path(world))
sys.argv[:] = ["polis", *words]
from polis.__main__ import main
try:
    main()
except SystemExit as ending:
    code = ending.code or 0
else:
    code = 0
with open(report, "w") as file:
    json.dump({"code": code, "modules": sorted(sys.modules), "askers": Watch.askers}, file)
"""


class Loaded:
    """What one command imported, and who asked for it."""

    def __init__(self, tmp_path: Path, words: list[str], world: Path | None = None, **variables: str) -> None:
        nowhere = tmp_path / "nowhere"
        nowhere.mkdir(exist_ok=True)
        report = tmp_path / "report.json"
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("POLIS_", "_POLIS", "COV_"))}
        home = {"POLIS_HOME": os.environ["POLIS_HOME"]}
        environ = {**plain, **home, "PATH": str(nowhere), "PYTHONPATH": str(ROOT), **variables}
        given = json.dumps([words, str(world) if world is not None else None, str(report)])
        argv = [sys.executable, "-c", PROGRAM, given]
        done = subprocess.run(argv, env=environ, cwd=nowhere, capture_output=True, text=True, check=False, timeout=60)
        assert report.exists(), done.stderr
        answer = json.loads(report.read_text())
        assert answer["code"] == 0, done.stderr
        self.output = done.stdout
        self.askers: dict[str, str] = answer["askers"]
        self.modules: list[str] = answer["modules"]

    def names(self) -> list[str]:
        """Return polis's modules, and the packages of others by their first name."""
        own = {name for name in self.modules if name.split(".")[0] == "polis"}
        tops = {name.split(".")[0] for name in self.modules} - {"polis", "tests"}
        others = {top for top in tops - sys.stdlib_module_names if not top.startswith("_")}
        return sorted(others) + sorted(own)


def compare(loaded: Loaded, case: str, *, allowed: tuple[str, ...] = ()) -> None:
    path = LISTS / f"{case}.txt"
    if os.environ.get("POLIS_TEST_WRITE") == "imports":
        path.write_text("".join(f"{name}\n" for name in loaded.names()))
    pinned = path.read_text().split()
    new = [f"{name}, for {loaded.askers.get(name, '?')}" for name in loaded.names() if name not in pinned]
    gone = [name for name in pinned if name not in loaded.names()]
    heavy = [
        f"{name}, for {loaded.askers.get(name, '?')}"
        for name in HEAVY
        if name in loaded.modules and name not in allowed
    ]
    told = [
        *(f"imported, and not in {path.name}: {line}" for line in new),
        *(f"in {path.name}, and no longer imported: {name}" for name in gone),
        *(f"imported, and too heavy: {line}" for line in heavy),
    ]
    assert not told, "\n" + "\n".join(told)


def test_version(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, ["--version"])
    assert loaded.output.strip()
    compare(loaded, "version")


def test_status_without_a_vm(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, ["status"])
    assert "absent" in loaded.output
    compare(loaded, "status")


def test_status_of_a_healthy_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = tmp_path / "world.json"
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: SimulatedDriver(path=world))
    assert CliRunner().invoke(cli.build(only="up"), ["-q", "up"], prog_name="polis").exit_code == 0
    loaded = Loaded(tmp_path, ["status"], world)
    assert "healthy" in loaded.output
    compare(loaded, "status-of-a-vm", allowed=("email",))  # pydantic looks for plugins with importlib.metadata


@pytest.mark.parametrize(("words", "case"), [("polis sta", "completion"), ("polis up --t", "completion-of-an-option")])
def test_completion(tmp_path: Path, words: str, case: str) -> None:
    asked = {"_POLIS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    loaded = Loaded(tmp_path, [], None, **asked)
    assert loaded.output.split(), "it completes"
    compare(loaded, case)
