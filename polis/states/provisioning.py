"""What is wrong with a guest whose first boot has ended, and which error that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.errors import CertificateUntrusted, IntegrityError, PolisError, ProvisioningFailed, SourceUnavailable
from polis.guest import checks
from polis.phase import Phase

if TYPE_CHECKING:
    from polis.guest.report import GuestReport

RECREATE = "polis up --recreate"
REBOOT = "polis stop"
"""The next `polis up` switches the VM on again."""

KINDS: dict[str, type[PolisError]] = {
    "integrity": IntegrityError,
    "unreachable": SourceUnavailable,
    "untrusted": CertificateUntrusted,
}
"""What the cloud-init document's own account of its failure means; anything else is ProvisioningFailed."""


@dataclass(frozen=True)
class Shortcoming:
    """Why a guest is not provisioned: a sentence, what bears it out, and what to type about it.

    `was_well` says that it was provisioned once: then the trouble came later, and no first boot is to blame.
    """

    message: str
    details: tuple[str, ...] = ()
    remedy: str = RECREATE
    kind: type[PolisError] = ProvisioningFailed
    was_well: bool = False

    def error(self) -> PolisError:
        """Return the failure that ends `polis up`."""
        return self.kind(
            self.message,
            cause="\n".join(self.details),
            remains="the VM is up, for you to look at with `polis shell`",
            hint=self._hint(),
        )

    def _hint(self) -> str:
        if self.kind is CertificateUntrusted:
            return CertificateUntrusted.usual_hint
        if self.remedy != RECREATE:
            return f"{self.remedy}; then run `polis up` again"
        if self.was_well:
            return f"this has changed since the VM was launched; `{RECREATE}` makes a new one, with nothing of the old"
        return f"mend the cause, then `{RECREATE}` makes a new VM: a first boot is not repeated"


def shortcoming(report: GuestReport) -> Shortcoming | None:
    """Return what keeps this guest from being provisioned, or None. The first boot must have ended."""
    # The guest is signed once it has been found well, and never before.
    was_well = report.marker is not None
    return (_changed(report) if was_well else _failed_first_boot(report)) or _failed_checks(report, was_well=was_well)


def _failed_first_boot(report: GuestReport) -> Shortcoming | None:
    first_boot = report.cloud_init
    said = (*first_boot.errors, *first_boot.log)
    if report.mishap is not None and report.sentinel is None:
        kind = KINDS.get(report.mishap.kind, ProvisioningFailed)
        return Shortcoming(f"the VM's first boot failed: {report.mishap}", said, kind=kind)
    if first_boot.errors:
        return Shortcoming("the VM's first boot failed: cloud-init ended with errors", said)
    if report.sentinel is None:
        return Shortcoming("the VM's first boot failed: cloud-init ended without its last act, the sentinel", said)
    return None


def _changed(report: GuestReport) -> Shortcoming | None:
    """Return what is wrong with the last boot of a guest that was provisioned at an earlier one."""
    last_boot = report.cloud_init
    said = (*last_boot.errors, *last_boot.log)
    if last_boot.errors:
        message = "cloud-init ended with errors when the VM was last switched on"
        return Shortcoming(message, said, remedy=REBOOT, was_well=True)
    if report.sentinel is None:
        message = "the sentinel is gone, which said that the VM's first boot went well"
        return Shortcoming(message, said, was_well=True)
    return None


def _failed_checks(report: GuestReport, *, was_well: bool) -> Shortcoming | None:
    failed = checks.failures(report, Phase.LAUNCHED)
    details = tuple(failure.advice for failure in failed)
    if report.docker.error:
        message = f"the Docker engine is not usable: {report.docker.error}"
        return Shortcoming(message, details, "polis exec sudo systemctl restart docker", was_well=was_well)
    if not failed:
        return None
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return Shortcoming(f"{failed[0]}{more}", details, failed[0].check.mend, was_well=was_well)
