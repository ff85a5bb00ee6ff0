"""How hard the fuzz tests try: the same examples each time, or with POLIS_FUZZ=20 others, and twenty times as many."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("POLIS_FUZZ", "0"))


def examples(number: int) -> settings:
    """Return settings for so many examples, which depend on nothing but the test: no clock, no stored failures."""
    return settings(
        max_examples=number * max(1, FACTOR),
        derandomize=FACTOR == 0,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
