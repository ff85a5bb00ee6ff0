"""Records of older Polis versions, brought step by step to the form of today (DESIGN section 4).

Each step takes a document of one schema version, as it was read, and returns that of the next. A step may count on
nothing: what it makes is checked like any other record afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Document = dict[str, Any]


def migrate(document: Document, *, to: int) -> Document:
    """Return the document in the form of schema version `to`; one that no step leads from is returned as it is."""
    while (step := STEPS.get(document.get("schema_version", 0))) is not None and document["schema_version"] < to:
        document = step(document)
    return document


def _measure_transitions_in_uptime(document: Document) -> Document:
    """1 to 2: an action in flight tells by the host's uptime when it began, which no change of the clock moves."""
    flight = document.get("transition")
    known = {**flight, "uptime_s": 0.0} if isinstance(flight, dict) else flight
    return {**document, "schema_version": 2, "transition": known}


STEPS: dict[int, Callable[[Document], Document]] = {1: _measure_transitions_in_uptime}
"""For each old schema version, what leads to the next."""
