"""Orders to the lab's fault proxy: a fault is set, shown and healed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.faultproxy import FaultProxy
from lab.faults import Fault, Mode
from lab.proxyadmin import ProxyControl
from tests.unit.lab_faultproxy.wire import ANY, MANIFEST, Bench, Play

if TYPE_CHECKING:
    from pathlib import Path


def test_orders_set_show_and_heal_a_fault(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        order = asyncio.to_thread
        await order(bench.control.set_fault, "throttled", match="gate", count=3)
        assert (await bench.get(MANIFEST)).status == 429
        assert await order(bench.control.fault) == {"mode": "throttled", "match": "gate", "count": 3, "hits": 1}
        await order(bench.control.heal)
        assert (await bench.get(MANIFEST)).status == 200
        assert [entry.status for entry in await order(bench.control.access_log)] == [429, 200]
        await order(bench.control.clear_log)
        assert await order(bench.control.access_log) == []
        await bench.get(MANIFEST)
        assert len(await order(bench.control.access_log)) == 1

    play(scenario)


@pytest.mark.parametrize(
    ("mode", "match", "count", "words"),
    [
        ("sulk", None, None, "unknown mode 'sulk'"),
        ("reset", "(", None, "not a regular expression"),
        ("reset", None, 0, "count must be at least 1"),
    ],
)
def test_a_bad_order_is_refused_and_changes_nothing(
    play: Play,
    mode: str,
    match: str | None,
    count: int | None,
    words: str,
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.HANG))
        with pytest.raises(LabError, match=words.replace("(", r"\(")):
            await asyncio.to_thread(bench.control.set_fault, mode, match=match, count=count)
        assert bench.proxy.fault == Fault(Mode.HANG)

    play(scenario)


def test_orders_to_a_proxy_that_is_gone_say_so(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    async def port_of_a_stopped_proxy() -> int:
        proxy = FaultProxy(registry_port=1, root=tmp_path, certificate=keys[1], log=tmp_path / "log")
        ports = await proxy.start(ANY)
        await proxy.stop()
        return ports.admin

    control = ProxyControl(asyncio.run(port_of_a_stopped_proxy()))
    with pytest.raises(LabError, match="does not answer"):
        control.heal()
