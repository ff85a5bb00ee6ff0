"""What registries and the engine say about images, and what it means."""

from __future__ import annotations

import pytest

from polis.errors import (
    CertificateUntrusted,
    ImageRefused,
    IntegrityError,
    PolisError,
    ProvisioningFailed,
    RegistryUnavailable,
)
from polis.guest.images import classify, registry

REFERENCE = "10.0.2.2:5000/odralabshq/polis-gate:v0.5.0"

TRANSIENT = [
    "received unexpected HTTP status: 503 Service Unavailable",
    "received unexpected HTTP status: 502 Bad Gateway",
    "toomanyrequests: You have reached your pull rate limit",
    "error parsing HTTP 429 response body: invalid character 'T' looking for beginning of value",
    'Get "http://10.0.2.2:5000/v2/": dial tcp 10.0.2.2:5000: connect: connection refused',
    'Get "https://ghcr.io/v2/": net/http: TLS handshake timeout',
    'Get "https://ghcr.io/v2/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
    "read tcp 10.0.2.15:3342->10.0.2.2:5000: read: connection reset by peer",
    "unexpected EOF",
    "EOF",
    'Get "https://ghcr.io/v2/": dial tcp: lookup ghcr.io on 127.0.0.53:53: server misbehaving',
    'Get "https://ghcr.io/v2/": dial tcp: lookup ghcr.io: i/o timeout',
    "lookup ghcr.io: Temporary failure in name resolution",
    "the registry hangs: no word for 90 s (timeout)",
    "something nobody has seen yet",
]
FINAL = [
    "manifest for 10.0.2.2:5000/odralabshq/polis-gate:v9 not found: manifest unknown: manifest unknown",
    "repository 10.0.2.2:5000/nobody/x not found: name unknown: repository name not known to registry",
    "pull access denied for polis-gate, repository does not exist or may require 'docker login'",
    'Head "https://ghcr.io/v2/odralabshq/polis-gate/manifests/v0.5.0": unauthorized',
    "unauthorized: authentication required",
    'Head "http://10.0.2.2:5000/v2/odralabshq/polis-gate/manifests/v0.5.0": no basic auth credentials',
    "denied: requested access to the resource is denied",
    "no matching manifest for linux/arm64 in the manifest list entries",
    "http: server gave HTTP response to HTTPS client",
    'Get "https://ghrc.io/v2/": dial tcp: lookup ghrc.io on 127.0.0.53:53: no such host',
]
TAMPERED = [
    "filesystem layer verification failed for digest sha256:6c3c",
    "image verification failed for digest sha256:6c3c",
]


@pytest.mark.parametrize("text", TRANSIENT)
def test_what_may_be_gone_next_time_is_transient(text: str) -> None:
    error = classify(REFERENCE, text)
    assert type(error) is RegistryUnavailable
    assert (error.exit_code, error.retryable) == (75, True)
    assert_names_all(error, text)


@pytest.mark.parametrize("text", FINAL)
def test_a_final_answer_is_permanent(text: str) -> None:
    error = classify(REFERENCE, text)
    assert type(error) is ImageRefused
    assert (error.exit_code, error.retryable) == (70, False)
    assert_names_all(error, text)


@pytest.mark.parametrize(
    "text",
    [
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        "x509: certificate signed by unknown authority (possibly because of denied: verification failed)",
    ],
)
def test_a_certificate_that_the_vm_does_not_trust_is_permanent_and_asks_for_its_ca(text: str) -> None:
    error = classify(REFERENCE, text)
    assert type(error) is CertificateUntrusted
    assert (error.exit_code, error.retryable) == (70, False)
    assert "`ca_certs`" in error.hint
    assert_names_all(error, text)


@pytest.mark.parametrize("text", TAMPERED)
def test_wrong_bytes_are_a_matter_of_integrity(text: str) -> None:
    error = classify(REFERENCE, text)
    assert type(error) is IntegrityError
    assert error.exit_code == 77
    assert_names_all(error, text)


def test_a_full_disk_in_the_vm_is_said() -> None:
    error = classify(REFERENCE, "write /var/lib/docker/tmp/GetImageBlob1: no space left on device")
    assert type(error) is ProvisioningFailed
    assert "disk" in error.hint


def assert_names_all(error: PolisError, text: str) -> None:
    assert REFERENCE in error.message
    assert "10.0.2.2:5000" in error.message
    assert error.cause == text
    assert error.hint


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("ghcr.io/odralabshq/polis-gate:v1", "ghcr.io"),
        ("localhost/x:1", "localhost"),
        ("localhost:5000/x:1", "localhost:5000"),
        ("library/alpine:3", "docker.io"),
        ("alpine:3", "docker.io"),
    ],
)
def test_the_registry_of_a_reference(reference: str, host: str) -> None:
    assert registry(reference) == host
