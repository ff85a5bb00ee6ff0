from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from polis.drivers.base import Forward, Hardware
from polis.states.hardware import changes

GIBIBYTE = 2**30
ACTUAL = Hardware(cpus=2, memory=2 * GIBIBYTE, disk=20 * GIBIBYTE, forwards=(Forward(8080, 80),))


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({}, ()),
        ({"cpus": 4}, ("cpus: 2 -> 4",)),
        ({"memory": GIBIBYTE // 2}, ("memory: 2048 MiB -> 512 MiB",)),
        ({"disk": 30 * GIBIBYTE}, ("disk: 20480 MiB -> 30720 MiB",)),
        ({"disk": 10 * GIBIBYTE}, ()),
        ({"forwards": ()}, ("ports: 8080:80 -> none",)),
        ({"forwards": (Forward(8080, 80), Forward(22, 2))}, ("ports: 8080:80 -> 22:2 8080:80",)),
        ({"cpus": 1, "memory": GIBIBYTE}, ("cpus: 2 -> 1", "memory: 2048 MiB -> 1024 MiB")),
    ],
)
def test_each_difference_is_told_and_a_disk_never_shrinks(wanted: dict[str, Any], told: tuple[str, ...]) -> None:
    assert changes(ACTUAL, dataclasses.replace(ACTUAL, **wanted)) == told
