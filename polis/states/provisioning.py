"""What is wrong with a guest whose first boot has ended, and which error that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.errors import IntegrityError, PolisError, ProvisioningFailed, SourceUnavailable
from polis.guest import checks
from polis.phase import Phase

if TYPE_CHECKING:
    from polis.guest.report import GuestReport

RECREATE = "polis up --recreate"
KINDS: dict[str, type[PolisError]] = {"integrity": IntegrityError, "unreachable": SourceUnavailable}
"""What the cloud-init document's own account of its failure means; anything else is ProvisioningFailed."""


@dataclass(frozen=True)
class Shortcoming:
    """Why a guest is not provisioned: a sentence, what bears it out, and what to type about it."""

    message: str
    details: tuple[str, ...] = ()
    remedy: str = RECREATE
    kind: type[PolisError] = ProvisioningFailed

    def error(self) -> PolisError:
        """Return the failure that ends `polis up`."""
        if self.remedy == RECREATE:
            hint = f"mend the cause, then `{RECREATE}` makes a new VM: a first boot is not repeated"
        else:
            hint = f"{self.remedy}; then run `polis up` again"
        return self.kind(
            self.message,
            cause="\n".join(self.details),
            remains="the VM is up, for you to look at with `polis shell`",
            hint=hint,
        )


def shortcoming(report: GuestReport) -> Shortcoming | None:
    """Return what keeps this guest from being provisioned, or None. The first boot must have ended."""
    first_boot = report.cloud_init
    said = (*first_boot.errors, *first_boot.log)
    if report.mishap is not None and report.sentinel is None:
        kind = KINDS.get(report.mishap.kind, ProvisioningFailed)
        return Shortcoming(f"the VM's first boot failed: {report.mishap}", said, kind=kind)
    if first_boot.errors:
        return Shortcoming("the VM's first boot failed: cloud-init ended with errors", said)
    if report.sentinel is None:
        return Shortcoming("the VM's first boot failed: cloud-init ended without its last act, the sentinel", said)
    return _failed_checks(report)


def _failed_checks(report: GuestReport) -> Shortcoming | None:
    failed = checks.failures(report.checks, Phase.LAUNCHED)
    details = tuple(failure.advice for failure in failed)
    if report.docker.error:
        message = f"the Docker engine is not usable: {report.docker.error}"
        return Shortcoming(message, details, remedy="polis exec sudo systemctl restart docker")
    if not failed:
        return None
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return Shortcoming(f"{failed[0]}{more}", details, remedy=failed[0].check.mend)
