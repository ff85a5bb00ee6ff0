"""What holds for all tests."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # the library has none

LANES = {
    "test_agents": "inside",
    "test_contents": "inside",
    "test_isolation": "inside",
    "test_bad_input": "life",
    "test_lifecycle": "life",
    "test_multipass": "elsewhere",
    "test_networks": "elsewhere",
    "test_driver_contract": "birth",
    "test_provisioning": "birth",
}
"""Which tests on real VMs run one after the other, in one process: those of one lane share a VM where they can."""


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes that tests start: a shell lets what it starts in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Deal tests on real VMs out by lanes, where others are dealt out by files."""
    return _ByLane(config, log) if config.getvalue("dist") == "loadfile" else None


class _ByLane(LoadScopeScheduling):  # type: ignore[misc]  # nor has its base
    """Tests of one lane run in one process, one after the other."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return LANES.get(Path(file).stem, file)
