"""Pulling an image into the guest, and what the registry's answers mean (DESIGN section 6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from polis.errors import (
    CertificateUntrusted,
    ExecTimeout,
    GuestCommandFailed,
    ImageRefused,
    IntegrityError,
    PolisError,
    ProvisioningFailed,
    RegistryUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polis.guest.report import Service
    from polis.guest.session import Guest, Progress

_DISK_FULL = re.compile(r"no space left on device", re.IGNORECASE)
_TAMPERED = re.compile(r"verification failed|digest mismatch|does not match digest|unexpected digest", re.IGNORECASE)
_UNTRUSTED = re.compile(r"x509:|certificate signed by unknown authority", re.IGNORECASE)
_REFUSED = re.compile(
    r"manifest unknown|manifest .*not found|not found: manifest|repository does not exist|name unknown"
    r"|pull access denied|access to the resource is denied|denied:|unauthorized|authentication required"
    r"|no basic auth credentials|\b40[134]\b"
    r"|no matching manifest|invalid reference format|server gave HTTP response to HTTPS client|no such host",
    re.IGNORECASE,
)
_HINTS = (
    (r"no such host", "check the host name in `registry`"),
    (r"HTTP response to HTTPS", "the registry does not speak TLS: check `registry`"),
    (r"unauthori|denied|auth|\b40[13]\b", "check `registry`, and that its images are public or that you may read them"),
    (r"no matching manifest", "the image does not exist for this processor"),
)


def pull(
    guest: Guest, wanted: Sequence[Service], *, on_progress: Progress, limit: float, silence: float
) -> tuple[list[str], PolisError | None]:
    """Pull images one after the other within `limit` seconds; return which are there, and what stopped it if anything.

    After `silence` seconds without a word a pull is given up. The engine's own retries (up to five for a layer) are
    heard, so that limits no slow download. The error is a RegistryUnavailable for what may be gone next time, an
    ImageRefused for a final answer, an IntegrityError for bytes that are not what the digest says, or a
    ProvisioningFailed for a full disk, or a GuestCommandFailed for an answer that tells nothing.
    """
    arguments: dict[str, object] = {"images": [service.wanted for service in wanted], "silence": silence}
    try:
        answer = guest.call("pull", arguments, timeout=limit, on_progress=on_progress)
    except ExecTimeout as error:
        where = ", ".join(sorted({registry(service.reference) for service in wanted}))
        return [], RegistryUnavailable(f"pulling images from {where} took longer than {limit:.0f} s", cause=error.cause)
    told, failed = answer.get("pulled"), answer.get("failed")
    pulled = [service.image for service in wanted if isinstance(told, list) and service.image in told]
    if isinstance(failed, dict) and "expected" in failed:
        return pulled, _mismatch(failed)
    if isinstance(failed, dict):
        return pulled, classify(str(failed.get("reference")), str(failed.get("error")))
    return pulled, None if pulled else GuestCommandFailed("the guest pulled no image, and does not say why")


def _mismatch(failed: dict[str, Any]) -> IntegrityError:
    reference = str(failed.get("reference"))
    return IntegrityError(
        f"{reference} from {registry(reference)} is not the image that this release locks",
        cause=f"expected {failed.get('expected')}, got {failed.get('actual')}; it was removed",
        hint="ask the registry's operator what happened; if the other image is right, correct `images.lock`",
    )


def registry(reference: str) -> str:
    """Return the host (and port) that an image reference leads to."""
    first, slash, _ = reference.partition("/")
    return first if slash and (first == "localhost" or re.search(r"[.:]", first)) else "docker.io"


def classify(reference: str, text: str) -> PolisError:
    """Return what the engine's error text about an image means."""
    where = f"{reference} from {registry(reference)}"
    if _DISK_FULL.search(text):
        return ProvisioningFailed(
            f"no space is left in the VM to pull {where}", cause=text, hint="raise `disk`, then `polis up --recreate`"
        )
    if _UNTRUSTED.search(text):
        return CertificateUntrusted(f"{where} is not to be had: the VM does not trust its certificate", cause=text)
    if _TAMPERED.search(text):
        return IntegrityError(
            f"{where} is not what its digest says",
            cause=text,
            hint="do not use this registry or mirror before its operator has explained it",
        )
    if _REFUSED.search(text):
        hint = next((hint for pattern, hint in _HINTS if re.search(pattern, text, re.IGNORECASE)), "")
        return ImageRefused(
            f"{where} is not to be had", cause=text, hint=hint or "check `version` and `registry`, then `polis up`"
        )
    return RegistryUnavailable(
        f"cannot pull {where}", cause=text, hint="when the registry answers again, `polis up` goes on from here"
    )
