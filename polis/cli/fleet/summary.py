"""How a fleet's command ended, for people and for scripts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from polis import events
from polis.cli import output
from polis.cli.fleet.board import counted
from polis.cli.fleet.opening import many
from polis.fleet.outcome import command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from polis.fleet.outcome import Outcome
    from polis.fleet.run import Result

TOLD = 20
"""Failures that are told to people; `--json` has all."""

NAMED = 12
"""Members that one line names."""


def document(result: Result) -> dict[str, Any]:
    """Return the last line for scripts; each member had its own before."""
    outcomes = result.outcomes
    word = "done" if result.exit_code == 0 else "failed"
    return {
        "event": "result",
        "at": events.timestamp(events.now()),
        "outcome": "interrupted" if result.interruption is not None else word,
        "exit_code": int(result.exit_code),
        "members": len(outcomes),
        "counts": dict(Counter(outcome.outcome for outcome in outcomes)),
        "failed": [outcome.member for outcome in outcomes if not outcome.is_good],
        "kept": [outcome.member for outcome in outcomes if outcome.outcome == "kept"],
        "not_begun": [outcome.member for outcome in outcomes if outcome.outcome == "not-begun"],
        "error": events.describe(result.interruption) if result.interruption is not None else None,
    }


def tell(result: Result, file: Path, typed: str) -> None:
    """Tell each failure in short, what was not done, and the counts. `typed` is the command that goes on from here."""
    bad = [outcome for outcome in result.outcomes if not outcome.is_good]
    for outcome in bad[:TOLD]:
        _tell_failure(outcome, file)
    if len(bad) > TOLD:
        output.say(f"… and {len(bad) - TOLD} more; --json has all")
    for word, meaning in (("kept", "still as they were"), ("not-begun", "not begun")):
        names = [outcome.member for outcome in result.outcomes if outcome.outcome == word]
        if names:
            output.say(f"{meaning}: {_named(names)}")
    if any(outcome.outcome in ("kept", "not-begun", "interrupted") for outcome in result.outcomes):
        output.say(f"next: `{typed}` goes on from here")
    counts = ", ".join(f"{count} {word}" for word, count in counted(Counter(each.outcome for each in result.outcomes)))
    output.result(f"{many(len(result.outcomes))}: {counts}")


def _tell_failure(outcome: Outcome, file: Path) -> None:
    error = outcome.error or {}
    where = f" (phase {error['phase']})" if error.get("phase") else ""
    output.say(f"{outcome.member}: {output.one_line(str(error.get('message', '')))}{where}")
    cause = str(error.get("cause", "")).strip().splitlines()
    if cause:
        output.say(f"  | {cause[-1]}")
    if error.get("remains"):
        output.say(f"  still there: {output.one_line(error['remains'])}")
    hint = output.one_line(str(error.get("hint", "")))
    start = command(file, outcome.member)
    output.say(f"  next: {hint if start in hint else f'`{start} status`; {hint}'}")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
