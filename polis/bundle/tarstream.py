"""Reading tars that may have been made to hurt: no damage is passed over, and no memory is filled."""

from __future__ import annotations

import io
import tarfile
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    import gzip

MAX_HEADER: Final = 8 * 2**10
"""Bytes of what a header adds to the next one (a long name, pax records): tarfile takes time with its square."""

_EXTENSIONS: Final = frozenset(
    {
        tarfile.GNUTYPE_LONGLINK,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.XHDTYPE,
    }
)
_END_MARK: Final[type[tarfile.TarError]] = tarfile.EOFHeaderError  # type: ignore[attr-defined]
_DAMAGE: Final[type[tarfile.TarError]] = tarfile.HeaderError


class Refused(Exception):
    """An entry, or the whole, is not acceptable."""

    def __init__(self, reason: str, name: str | None = None) -> None:
        super().__init__(reason if name is None else f"{name!r} {reason}")


class StrictInfo(tarfile.TarInfo):
    """A header reader for which only an end mark is the end.

    tarfile takes a damaged or missing header for the end of the archive and drops what follows without a word.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> StrictInfo:
        """Refuse a header that would have too much read after it."""
        info = super().frombuf(buf, encoding, errors)
        if info.type in _EXTENSIONS and info.size > MAX_HEADER:
            raise Refused(f"it has a header larger than {MAX_HEADER} bytes")
        return info

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> StrictInfo:
        """Refuse what tarfile would take for the end."""
        try:
            return super().fromtarfile(tarfile)
        except _END_MARK:
            raise
        except _DAMAGE as error:
            raise Refused(f"it is no tar, or it is damaged or cut off: {error}") from error


class Limited(io.RawIOBase):
    """A source that ends in an error rather than fill the memory, however small it was when compressed."""

    def __init__(self, source: IO[bytes] | gzip.GzipFile, limit: int) -> None:
        super().__init__()
        self._source = source
        self._limit = self._left = limit

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; raises Refused when there were more than the limit in all."""
        data = self._source.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise Refused(f"it is larger than {self._limit} bytes when unpacked")
        return data
