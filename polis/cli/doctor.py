"""`polis doctor`: what keeps `polis up` from working here, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from polis.cli import output
from polis.cli.session import globals_of, open_workspace, reporting

if TYPE_CHECKING:
    from polis.doctor.findings import Finding

SIGNS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


def doctor(
    context: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended safely, and say what was done.")] = False,
) -> None:
    """Examine this machine, its network, the driver and the workspace. Exits with 69 or 70 if `up` would fail."""
    options = globals_of(context)
    with reporting(options):
        from polis import paths
        from polis.doctor import examination, findings

        workspace = open_workspace(options)
        found = examination.examine(workspace.spec, paths.find(), workspace)
        if fix:
            found = examination.mend(found)
        code = findings.exit_code(found)
        if options.json:
            payloads = [finding.payload() for finding in found]
            output.document({"schema": 1, "ok": code == 0, "exit_code": int(code), "findings": payloads})
        else:
            output.result("\n".join([*(line for finding in found for line in _lines(finding)), _summary(found)]))
    if code:
        raise typer.Exit(int(code))


def _lines(finding: Finding) -> list[str]:
    lines = [f"{SIGNS[finding.level]:<9}{finding.name}: {finding.what}"]
    if finding.why:
        lines.append(f"{'':<9}why: {finding.why}")
    if finding.mend:
        lines.append(f"{'':<9}do:  {finding.mend}")
    return lines


def _summary(found: list[Finding]) -> str:
    counts = {sign: sum(finding.level.value == level for finding in found) for level, sign in SIGNS.items()}
    if not counts["PROBLEM"]:
        return f"nothing here keeps `polis up` from working ({counts['warning']} warnings)"
    return f"{counts['PROBLEM']} problems keep `polis up` from working ({counts['warning']} warnings)"
