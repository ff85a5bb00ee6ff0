"""Turning what the guest tells of its services into progress events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polis.events import Event, PhaseProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.phase import Phase


def tell_services(emit: Callable[[Event], None], phase: Phase, news: dict[str, Any]) -> None:
    """Emit how many services are well, and which are not yet."""
    services = news.get("services")
    if not isinstance(services, dict):
        return
    well = sum(word == "ok" for word in services.values())
    others = ", ".join(f"{name} {word}" for name, word in sorted(services.items()) if word != "ok")
    total = news.get("expected")
    emit(
        PhaseProgress(
            phase=phase,
            detail=(others or "all services are well")[:300],
            done=well,
            total=total if isinstance(total, int) else None,
        )
    )
