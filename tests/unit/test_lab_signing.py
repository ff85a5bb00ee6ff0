"""The lab's OpenPGP keys, and whose signature is whose."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from lab import signing
from lab.errors import LabError

pytestmark = pytest.mark.processes

TEXT = b"Origin: Docker\n- a line that begins with a dash\nSuite: noble\n"


class Key(NamedTuple):
    """A key and what it signed."""

    secret: Path
    public: bytes
    clear: bytes
    detached: bytes


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Key]:
    directory = tmp_path_factory.mktemp("signing")
    made = {}
    for name in ("lab", "foreign"):
        secret = directory / f"{name}.key"
        signing.ensure(secret, name=f"{name} <{name}@localhost>")
        with signing.signer(secret) as signer:
            made[name] = Key(secret, signer.public, signer.clearsign(TEXT), signer.detach(TEXT))
    return made


class Verifier:
    """Somebody who trusts one key."""

    def __init__(self, home: Path, public: bytes) -> None:
        self._home = home
        home.mkdir(mode=0o700)
        assert self._gpg("--import", content=public).returncode == 0

    def clear(self, signed: bytes) -> bytes | None:
        """Return the text, or None if the signature is not of this key."""
        done = self._gpg("--decrypt", content=signed)
        return done.stdout if done.returncode == 0 else None

    def detached(self, signature: bytes, content: bytes) -> bool:
        file = self._home / "signature"
        file.write_bytes(signature)
        return self._gpg("--verify", str(file), "-", content=content).returncode == 0

    def _gpg(self, *words: str, content: bytes) -> subprocess.CompletedProcess[bytes]:
        argv = ["gpg", "--homedir", str(self._home), "--batch", "--quiet", "--no-tty", *words]
        return subprocess.run(argv, input=content, capture_output=True, check=False)


def test_what_the_lab_signs_verifies_with_its_public_key(keys: dict[str, Key], tmp_path: Path) -> None:
    key = keys["lab"]
    trusting = Verifier(tmp_path / "gpg", key.public)
    assert trusting.clear(key.clear) == TEXT
    assert trusting.detached(key.detached, TEXT)
    assert not trusting.detached(key.detached, TEXT + b"more")
    assert trusting.clear(key.clear.replace(b"noble", b"jammy")) is None


def test_what_the_foreign_key_signs_does_not_verify_with_the_labs(keys: dict[str, Key], tmp_path: Path) -> None:
    trusting = Verifier(tmp_path / "gpg", keys["lab"].public)
    assert trusting.clear(keys["foreign"].clear) is None
    assert not trusting.detached(keys["foreign"].detached, TEXT)
    other = Verifier(tmp_path / "other", keys["foreign"].public)
    assert other.clear(keys["foreign"].clear) == TEXT


def test_what_is_public_is_armoured_and_holds_no_secret(keys: dict[str, Key]) -> None:
    for key in keys.values():
        assert key.public.startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----")
        assert key.clear.startswith(b"-----BEGIN PGP SIGNED MESSAGE-----")
        assert key.detached.startswith(b"-----BEGIN PGP SIGNATURE-----")
        assert b"PRIVATE KEY" not in key.public + key.clear + key.detached


def test_a_key_is_made_once_and_only_the_user_reads_it(keys: dict[str, Key]) -> None:
    secret = keys["lab"].secret
    before = secret.read_bytes()
    signing.ensure(secret, name="another <another@localhost>")
    assert secret.read_bytes() == before
    assert secret.stat().st_mode & 0o777 == 0o600
    with signing.signer(secret) as signer:
        assert signer.public == keys["lab"].public


def test_the_users_own_keys_are_left_alone(
    keys: dict[str, Key], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "mine"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with signing.signer(keys["lab"].secret) as signer:
        assert signer.clearsign(TEXT)
    assert not list(tmp_path.iterdir())


def test_a_damaged_key_is_an_error_that_says_what_gpg_said(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_bytes(b"no key")
    with pytest.raises(LabError, match=r"gpg --import failed: .*no valid OpenPGP data"), signing.signer(secret):
        pass


def test_a_host_without_gpg_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(LabError, match="gpg is not installed"):
        signing.ensure(tmp_path / "key", name="lab")
    assert not (tmp_path / "key").exists()
