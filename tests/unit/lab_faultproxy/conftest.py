"""A proxy for each scenario, with one set of keys for all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lab import certificates
from tests.unit.lab_faultproxy.wire import Bench, Play, bench_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates.ensure(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def play(tmp_path: Path, keys: tuple[Path, Path]) -> Play:
    """Run a scenario against a fresh proxy, with a limit far above what it takes."""

    async def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
        async with asyncio.timeout(10), bench_in(tmp_path, keys) as bench:
            await scenario(bench)

    return lambda scenario: asyncio.run(run(scenario))
