"""A command in a service's container, on the caller's own terminal: in one round trip, unless it is refused."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from polis.errors import GuestCommandFailed, NotFound, ServiceNotRunning
from polis.guest import shipping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polis.errors import PolisError
    from polis.guest.report import KnownService, Refusal
    from polis.guest.session import Guest

REFUSED = 105
"""Exit code of a command that was not run. It may as well be a command's own, so the guest is asked then."""

LIMIT = 60.0
"""Seconds for that question."""

_UP = "`polis up` starts what does not run; `polis status` shows all services"


def enter(guest: Guest, service: str, argv: Sequence[str] = ()) -> int:
    """Run a command (without words: a shell) in the container of a service and return its exit code.

    Raises NotFound if there is no such service, ServiceNotRunning, and what `Driver.shell` raises.
    """
    slip = f"/run/polis-{secrets.token_hex(12)}"
    arguments = {"service": service, "argv": list(argv), "slip": slip, "refused": REFUSED}
    code = guest.driver.shell(name=guest.name, argv=shipping.command("enter", arguments))
    refusal = _refusal(guest, slip) if code == REFUSED else None
    if refusal is not None:
        raise _problem(service, refusal)
    return code


def _refusal(guest: Guest, slip: str) -> Refusal | None:
    from pydantic import ValidationError

    from polis.guest.report import Refusal

    answer = guest.call("refusal", {"slip": slip}, timeout=LIMIT).get("refusal")
    try:
        return None if answer is None else Refusal.model_validate(answer)
    except ValidationError as error:
        raise GuestCommandFailed("the guest's answer cannot be understood", cause=str(error)) from error


def _problem(service: str, refusal: Refusal) -> PolisError:
    known = {each.name: each for each in refusal.services}
    if refusal.error:
        return ServiceNotRunning(f"the service {service} cannot be reached", cause=refusal.error, hint=_UP)
    if not known:
        return ServiceNotRunning("no services are there yet", hint="`polis up` starts them")
    if service not in known:
        runs = [name for name, each in known.items() if each.state == "running"]
        return NotFound(
            f"there is no service {service}",
            cause=f"the services are {', '.join(known)}",
            hint=f"`--service {runs[0]}` is one that runs" if runs else _UP,
        )
    return _idle(known[service])


def _idle(service: KnownService) -> PolisError:
    if service.one_shot and service.state == "exited":
        return ServiceNotRunning(
            f"the service {service.name} is not running: it does its work once, and ends",
            hint="`polis status` shows the services that run",
        )
    return ServiceNotRunning(f"the service {service.name} is not running", cause=f"state: {service.state}", hint=_UP)
