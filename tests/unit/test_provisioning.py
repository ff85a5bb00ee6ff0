"""Which error a guest's shortcoming becomes: a first boot that failed is not what a guest that was well is told of."""

from __future__ import annotations

from typing import Any

import pytest

from polis.errors import CertificateUntrusted, IntegrityError, PolisError, ProvisioningFailed
from polis.guest import checks
from polis.guest.report import CheckResult, GuestReport
from polis.states.provisioning import shortcoming

MARKER = {"workspace": "polis", "id": "x", "fingerprint": "y"}
ERRORS = {"finished": True, "errors": ["runcmd failed"], "log": ["the last word"]}
WRONG_HASH = {"kind": "integrity", "what": "a package", "expected": "one hash", "actual": "another"}


def report(failing: tuple[str, ...] = (), **changes: Any) -> GuestReport:
    """Return the report of a guest that is as it must be, but for these."""
    results = [CheckResult(name=each.name, ok=each.name not in failing) for each in checks.catalogue()]
    values = {"boot_id": "1", "cloud_init": {"finished": True}, "sentinel": {}, "checks": results}
    return GuestReport.model_validate({**values, **changes})


def failure(found: GuestReport) -> PolisError:
    problem = shortcoming(found)
    assert problem is not None
    return problem.error()


@pytest.mark.parametrize("marker", [None, MARKER])
def test_a_guest_that_is_as_it_must_be(marker: dict[str, str] | None) -> None:
    assert shortcoming(report(marker=marker)) is None


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cloud_init": ERRORS}, ProvisioningFailed, "first boot failed: cloud-init ended with errors"),
        ({"sentinel": None}, ProvisioningFailed, "first boot failed: cloud-init ended without its last act"),
        ({"sentinel": None, "mishap": WRONG_HASH}, IntegrityError, "first boot failed: a package: expected one hash"),
        ({"failing": ("no-userland-proxy",)}, ProvisioningFailed, "no-userland-proxy: expected"),
    ],
)
def test_a_first_boot_that_failed_is_not_repeated(
    changes: dict[str, Any], error: type[PolisError], message: str
) -> None:
    found = failure(report(**changes))
    assert type(found) is error
    assert message in found.message
    assert "mend the cause, then `polis up --recreate`" in found.hint
    assert "a first boot is not repeated" in found.hint


def test_a_certificate_that_is_not_trusted_asks_for_its_ca() -> None:
    signer = "it is signed by CN=Office CA"
    mishap = {"kind": "untrusted", "what": "the server m.example", "expected": "another", "actual": signer}
    found = failure(report(sentinel=None, mishap=mishap))
    assert type(found) is CertificateUntrusted
    assert (found.exit_code, found.retryable) == (70, False)
    assert signer in found.message
    assert "ca_certs" in found.hint
    assert "polis up --recreate" in found.hint


def test_what_changed_after_a_good_launch_is_not_blamed_on_the_first_boot() -> None:
    for found in (
        failure(report(marker=MARKER, failing=("no-userland-proxy",))),
        failure(report(marker=MARKER, sentinel=None)),
    ):
        assert "first boot failed" not in found.message
        assert "changed since the VM was launched; `polis up --recreate`" in found.hint


def test_a_later_boot_that_went_wrong_may_go_well_when_it_is_repeated() -> None:
    found = failure(report(marker=MARKER, cloud_init=ERRORS))
    assert found.message == "cloud-init ended with errors when the VM was last switched on"
    assert "the last word" in found.cause
    assert found.hint == "polis stop; then run `polis up` again"


@pytest.mark.parametrize("marker", [None, MARKER])
def test_what_a_command_in_the_vm_mends_needs_no_new_vm(marker: dict[str, str] | None) -> None:
    found = failure(report(marker=marker, failing=("packages-held", "aslr")))
    assert found.message.startswith("packages-held: ")
    assert found.message.endswith("(and 1 more)")
    assert found.hint.startswith("polis exec sudo apt-mark hold docker-ce ")
    assert "recreate" not in found.hint
    docker = failure(report(marker=marker, docker={"error": "it does not answer"}))
    assert docker.hint == "polis exec sudo systemctl restart docker; then run `polis up` again"
