"""What holds for all tests."""

from __future__ import annotations

import signal

import pytest

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test on a real VM its lane, before xdist looks for it."""
    for item in items:
        lane = LANES.get(item.path.stem)
        if lane is not None:
            item.add_marker(pytest.mark.xdist_group(lane))
