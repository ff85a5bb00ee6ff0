"""Fetching an image over https: resumed where it broke off, retried while that makes sense, never trusted."""

from __future__ import annotations

import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING, Any

from polis import interruption
from polis.addresses import without_credentials
from polis.drivers.qemu import space
from polis.errors import ConfigurationError, HostUnsuitable, Transient
from polis.retry import Backoff, call

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polis.errors import PolisError

STALL = 30.0
"""Seconds without a byte after which a connection counts as broken."""

CHUNK = 1024 * 1024

BACKOFF = Backoff(attempts=5, base=1.0, cap=15.0, deadline=300.0)

_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE_BEYOND_END = 416


def download(
    url: str,
    part: Path,
    *,
    on_progress: Callable[[str], None],
    context: ssl.SSLContext | None = None,
    backoff: Backoff | None = None,
    sleep: Callable[[float], None] = interruption.sleep,
) -> None:
    """Complete the file `part`, which may hold the beginning from an earlier attempt.

    Raises ConfigurationError if the address is wrong, HostUnsuitable for a full disk or a certificate that this
    machine does not trust, Transient if the network or the server failed after all attempts.
    """
    opener = _opener(context)

    def told(error: PolisError, attempt: int, delay: float) -> None:
        on_progress(f"{error} (attempt {attempt}, next in {delay:.0f} s)")

    call(lambda: _attempt(opener, url, part, on_progress), backoff or BACKOFF, on_retry=told, sleep=sleep)


def _opener(context: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    # Built by hand, without a handler for http, ftp or file: a redirect cannot lead away from https.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(context=context or ssl.create_default_context()),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _attempt(opener: urllib.request.OpenerDirector, url: str, part: Path, on_progress: Callable[[str], None]) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=STALL) as response:  # noqa: S310
            resumed = response.status == http.client.PARTIAL_CONTENT
            _receive(response, part, have if resumed else 0, on_progress)
    except urllib.error.HTTPError as error:
        raise _refused(error, without_credentials(url), part) from error
    except urllib.error.URLError as error:
        raise _unreachable(error.reason, without_credentials(url)) from error
    except http.client.InvalidURL:
        # Its words are a part of the address, and may be the password.
        told = without_credentials(url)
        raise ConfigurationError(f"{told} cannot be fetched: it is no address", hint="check `image`") from None
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _unreachable(error, without_credentials(url)) from error


def _receive(response: Any, part: Path, have: int, on_progress: Callable[[str], None]) -> None:
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    if total is not None:
        space.require(part.parent, total - have, what="the image")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as file, space.checked(part.parent):
        file.truncate(have)
        file.seek(have)
        _pour(response, file, total, on_progress)
    if total is not None and part.stat().st_size < total:
        raise Transient("the image's download broke off", cause=f"{part.stat().st_size} of {total} bytes came")


def _pour(response: Any, file: IO[bytes], total: int | None, on_progress: Callable[[str], None]) -> None:
    told = 0.0
    while chunk := response.read(CHUNK):
        interruption.check()
        file.write(chunk)
        if time.monotonic() - told >= 1.0:
            told = time.monotonic()
            of = f" of {space.mebibytes(total)}" if total else ""
            on_progress(f"downloading the image: {space.mebibytes(file.tell())}{of}")


def _refused(error: urllib.error.HTTPError, url: str, part: Path) -> PolisError:
    error.close()
    words = f"{error.code} {error.reason}"
    if error.code == _RANGE_BEYOND_END:
        # What is there is not a beginning of what the server has: start over.
        part.unlink(missing_ok=True)
        return Transient(f"{url} has changed", cause=words)
    if error.code in _TRANSIENT_STATUS:
        return Transient(f"{url} cannot be fetched now", cause=words)
    return ConfigurationError(f"{url} cannot be fetched", cause=words, hint="check `image` in polis.yaml")


def _unreachable(reason: object, url: str) -> PolisError:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return HostUnsuitable(
            f"the certificate of {url} is not trusted by this machine",
            cause=reason.verify_message,
            hint="behind an inspecting proxy, point SSL_CERT_FILE to its CA certificate",
        )
    if isinstance(reason, str) and reason.startswith("unknown url type"):
        return ConfigurationError(f"{url} leads to an address that is not https", cause=reason)
    return Transient(f"{url} cannot be reached", cause=str(reason) or type(reason).__name__)
