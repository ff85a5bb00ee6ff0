"""The signature over a release's list of files: Ed25519, by a key that only the release workflow is given.

Whoever has the list and the public key can tell that every file is what its maintainers released: the list has the
hash of each. The public key is `polis/release.pub`, in the wheel and in the single file.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from release import inventory
from release.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE: Final = "POLIS_RELEASE_KEY"
"""The 32 bytes of the private key, in base64: from the environment, for what is in arguments is seen by all."""


def generate() -> tuple[str, str]:
    """Return a new private key and its public key, in base64."""
    key = Ed25519PrivateKey.generate()
    return _text(key.private_bytes_raw()), _text(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def sign(directory: Path, environ: Mapping[str, str]) -> Path:
    """Sign the list of files of a release; return the signature's file. Raises ReleaseError without a usable key."""
    text = environ.get(VARIABLE, "")
    if not text:
        raise ReleaseError(f"{VARIABLE} is not set: a release is signed by its key only")
    key = Ed25519PrivateKey.from_private_bytes(_bytes(text, VARIABLE))
    signature = directory / inventory.SIGNATURE
    signature.write_text(_text(key.sign((directory / inventory.SUMS).read_bytes())) + "\n", encoding="ascii")
    return signature


def verify(directory: Path, public: str) -> None:
    """Raise ReleaseError unless the list of files was signed by the owner of a public key."""
    signature = directory / inventory.SIGNATURE
    if not signature.is_file():
        raise ReleaseError(f"{inventory.SIGNATURE} is missing: who made this release is not known")
    key = Ed25519PublicKey.from_public_bytes(_bytes(public, "the public key"))
    try:
        data = base64.b64decode(signature.read_bytes().strip(), validate=True)
        key.verify(data, (directory / inventory.SUMS).read_bytes())
    except (InvalidSignature, binascii.Error) as error:
        raise ReleaseError(f"{inventory.SUMS} was not signed by this key, or was changed since") from error


def _bytes(text: str, what: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != len(bytes(32)):
        raise ReleaseError(f"{what} is no Ed25519 key of 32 bytes in base64")
    return key


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
