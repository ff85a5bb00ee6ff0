"""OpenPGP keys of the lab's own, and what they sign. Each is made once and kept as a file.

gpg works in a home of its own that lasts as long as one `with`: no key of the user's is seen, and the path of the
agent's socket stays shorter than the system allows wherever the lab lies.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.placing import place

if TYPE_CHECKING:
    from collections.abc import Iterator


class Signer:
    """One key in a gpg home, ready to sign; `public` is its armoured public half."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.public = _gpg(home, "--armor", "--export")

    def clearsign(self, content: bytes) -> bytes:
        """Return the text with its signature around it, as InRelease has it."""
        return _gpg(self._home, "--clearsign", content=content)

    def detach(self, content: bytes) -> bytes:
        """Return the armoured signature alone, as Release.gpg has it."""
        return _gpg(self._home, "--armor", "--detach-sign", content=content)


def ensure(secret: Path, *, name: str) -> None:
    """Make the key unless there is one; only the user may read it. Raises LabError."""
    if secret.is_file():
        return
    with _home() as home:
        _gpg(home, "--pinentry-mode", "loopback", "--quick-generate-key", name, "ed25519", "sign", "never")
        place(secret, _gpg(home, "--armor", "--export-secret-keys"), mode=0o600)


@contextmanager
def signer(secret: Path) -> Iterator[Signer]:
    """Give the key of a file that `ensure` made; raises LabError if gpg cannot use it."""
    with _home() as home:
        _gpg(home, "--import", content=secret.read_bytes())
        yield Signer(home)


@contextmanager
def _home() -> Iterator[Path]:
    if shutil.which("gpg") is None:
        raise LabError("gpg is not installed")
    with tempfile.TemporaryDirectory(prefix="lab-gpg-") as directory:
        try:
            yield Path(directory)
        finally:
            # It would see its home go and end too, but not before the next one is asked for.
            subprocess.run(["gpgconf", "--homedir", directory, "--kill", "gpg-agent"], check=False, capture_output=True)


def _gpg(home: Path, *words: str, content: bytes = b"") -> bytes:
    argv = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty", "--passphrase", "", *words]
    done = subprocess.run(argv, input=content, capture_output=True, check=False)
    if done.returncode != 0:
        raise LabError(f"gpg {words[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
