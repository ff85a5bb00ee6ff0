from __future__ import annotations

import time
from typing import Any

import pytest

from polis.guest.remote import containers


def inspected(started_at: str, **state: Any) -> dict[str, Any]:
    return {
        "Id": "0123456789abcdef",
        "Image": "sha256:1",
        "Config": {"Labels": {"com.docker.compose.service": "gate", "com.docker.compose.config-hash": "h"}},
        "State": {"Status": "running", "ExitCode": 0, "StartedAt": started_at, **state},
    }


BOOTED = 1_795_420_800.0  # 2026-11-23T08:00:00Z


@pytest.mark.parametrize(
    ("started_at", "this_boot"),
    [
        ("2026-11-23T08:00:00.123456789Z", True),
        ("2026-11-23T08:00:05Z", True),
        ("2026-11-23T07:59:59.5Z", True),
        ("2026-11-23T07:00:00.1Z", False),
        ("0001-01-01T00:00:00Z", False),
        ("", False),
    ],
)
def test_whether_a_container_was_started_in_this_boot(started_at: str, this_boot: bool) -> None:
    assert containers.summary(inspected(started_at), BOOTED)["this_boot"] is this_boot


def test_a_health_check_s_last_words_are_the_detail() -> None:
    health = {"Status": "unhealthy", "Log": [{"Output": "old"}, {"Output": " refused \n"}]}
    summary = containers.summary(inspected("", Health=health), BOOTED)
    assert (summary["health"], summary["detail"], summary["service"]) == ("unhealthy", "refused", "gate")


@pytest.mark.parametrize(
    ("state", "code", "health", "one_shot", "condition", "failed"),
    [
        ("running", 0, "healthy", False, "ok", False),
        ("running", 0, "none", False, "ok", False),
        ("running", 0, "starting", False, "starting", False),
        ("running", 0, "unhealthy", False, "unhealthy", True),
        ("exited", 137, "none", False, "exited", True),
        ("restarting", 1, "none", False, "restarting", True),
        ("created", 0, "none", False, "created", False),
        ("exited", 0, "none", True, "ok", False),
        ("exited", 3, "none", True, "exited (3)", True),
        ("running", 0, "none", True, "running", False),
    ],
)
def test_how_a_service_is(state: str, code: int, health: str, one_shot: bool, condition: str, failed: bool) -> None:
    entry = {"state": state, "exit_code": code, "health": health}
    assert containers.condition(entry, one_shot=one_shot) == condition
    assert containers.has_failed(entry) is failed


def test_the_time_of_the_boot_is_that_of_this_machine() -> None:
    assert 0 < time.time() - containers.booted_at() < 10 * 365 * 86400
