"""Dependencies point downwards: cli → workspace → machine → states → {guest, bundle, cloudinit} → drivers → process."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "polis"

LEAVES = {
    "addresses",
    "polis",
    "durable",
    "errors",
    "events",
    "fingerprint",
    "history",
    "interruption",
    "journal",
    "log",
    "lock",
    "migration",
    "paths",
    "phase",
    "record",
    "redaction",
    "retry",
    "scrubbing",
    "signals",
}
LEAVES |= {"bootstages", "durations", "entries", "timeline"}
LEAVES |= {
    "config",
    "defaults",
    "config_agent",
    "config_incus",
    "config_fleet",
    "config_site",
    "config_sources",
    "store",
    "telling",
    "waiting",
    "yamltext",
}
"""Anyone may import these; they import only each other."""

BELOW: dict[str, set[str]] = {
    "process": set(),
    "drivers": {"process"},
    "bundle": set(),
    "agents": {"bundle"},
    "cloudinit": set(),
    "guest": {"drivers", "process"},
    "vault": {"bundle"},
    "lease": {"drivers"},
    "handover": {"agents", "guest", "states", "vault"},
    "shared": {"drivers", "lease"},
    "offline": {"guest", "bundle", "cloudinit", "drivers"},
    "states": {"guest", "bundle", "cloudinit", "drivers", "vault"},
    "contents": {"bundle", "offline", "states"},
    "assessment": {"states"},
    "plan": {"assessment"},
    "machine": {"assessment", "plan", "states"},
    "diagram": {"machine"},
    "pictures": {"diagram"},
    "status": {"assessment", "ownership", "states", "guest"},
    "ownership": {"states", "guest", "drivers"},
    "site": {"cloudinit"},
    "assembly": {"handover", "shared"}
    | {"offline", "agents", "contents", "vault", "site", "states", "guest", "bundle", "cloudinit", "drivers"},
    "workspace": {"assembly", "machine", "plan", "status"}
    | {"offline", "agents", "bundle", "ownership", "states", "guest", "drivers"},
    "fleet": {"assembly", "shared", "workspace", "machine", "plan", "status", "guest", "drivers"},
    "doctor": {"assembly", "drivers", "status", "workspace"},
    "logs": {"guest", "drivers"},
    "hiding": {"agents"},
    "support": {"doctor", "logs", "ownership", "workspace"},
    "cli": {"hiding", "ownership", "fleet"}
    | {"agents", "bundle", "drivers", "logs", "support", "workspace", "assembly", "doctor", "plan", "status"}
    | {"diagram", "pictures"},
    "__main__": {"cli"},
}
"""For each part, the other parts that it may import besides the leaves."""


def part_of(module: str) -> str:
    words = module.split(".")
    return words[1] if len(words) > 1 else "polis"


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "polis"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "polis":
            names = [alias.name for alias in node.names]
            found |= {f"polis.{name}" for name in names} if node.module == "polis" else {str(node.module)}
    return found


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def own_part(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    part = own_part(path)
    allowed = LEAVES if part in LEAVES or part == "__init__" else LEAVES | BELOW[part] | {part}
    used = {part_of(module) for module in imports(path)} - {"__version__"}
    assert used <= allowed, f"{path.name} ({part}) imports {sorted(used - allowed)}"


def test_only_the_machine_imports_the_state_machine_library() -> None:
    users = [path.name for path in modules() if "import transitions" in path.read_text(encoding="utf-8")]
    assert users == ["machine.py"]


def test_states_and_machine_name_no_driver_and_drivers_name_no_phase() -> None:
    for path in (*(ROOT / "states").glob("*.py"), ROOT / "machine.py"):
        words = path.read_text(encoding="utf-8").lower()
        assert not [tool for tool in ("qemu", "multipass", "incus") if tool in words], path
    for path in (ROOT / "drivers").rglob("*.py"):
        assert "polis.phase" not in imports(path), path


def test_what_runs_in_the_guest_imports_only_the_standard_library_and_itself() -> None:
    from polis.guest import shipping

    remote = ROOT / "guest" / "remote"
    assert {path.stem for path in remote.glob("*.py")} - {"__init__", "main"} == set(shipping.NEEDS)
    assert {module for module, _ in shipping.COMMANDS.values()} <= set(shipping.NEEDS)
    for name, needs in shipping.NEEDS.items():
        sent: set[str] = set()
        for module in (*needs, name):
            used = {used.rpartition(".")[2] for used in imports(remote / f"{module}.py")} - {"remote"}
            # `from polis.guest.remote import x` is seen as the package itself
            names = {n for n in shipping.NEEDS if f"import {n}" in (remote / f"{module}.py").read_text()} - {module}
            assert (used | names) & set(shipping.NEEDS) <= sent, f"{name}: {module} is sent before what it imports"
            sent.add(module)


def test_modules_stay_small() -> None:
    long = {str(path): count for path in modules() if (count := len(path.read_text().splitlines())) > 400}
    assert not long
