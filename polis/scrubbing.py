"""What others wrote, and what is to leave this machine in a bug report, without secrets.

Struck out is what the host keeps as secret, in each way that a program may write it, and what looks like a secret to
anybody. `polis.redaction` does the striking; here it learns more than any single command has to know.
"""

from __future__ import annotations

import bisect
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from polis import redaction
from polis.addresses import credentials, struck_in_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILE_LIMIT = 4 * 1024 * 1024
"""Bytes of a file with secrets that is read, to know what must not be shown."""

KEY_LIMIT = 64 * 1024
"""Bytes of a file that may hold a private key."""

SECRET_NAMES = ("key", "passwords", "values")
"""Where the files of a workspace's secrets hold them; beside stand names and dates, which may be read."""

PEM_LIMIT = 8000
"""Characters between the first and the last line of a private key."""

INNER = 12
"""Characters from which on a value is known in base64 too when it stands between others."""

_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----")
_PEM_REST = re.compile(rf"[A-Za-z0-9+/=\s\\]{{0,{PEM_LIMIT}}}")
_BEARER = re.compile(r"\b(Bearer|Basic|Token)\s+[A-Za-z0-9+/_.~=-]{12,}", re.IGNORECASE)
_NAMED = re.compile(
    r"((?:api[_-]?key|secret|token|passwd|password|passphrase|credentials?)\\?[\"']?\s{0,9}[=:]\s{0,9}\\?[\"']?)"
    r"(?!\[redacted\])[^\s\"'\\,;}&]{6,}",
    re.IGNORECASE,
)
_URL_SAFE = str.maketrans("+/", "-_")
_NAME = re.compile(r"(?:api[_-]?key|secret|token|passwd|password|passphrase|credentials?)$", re.IGNORECASE)
_WORD = re.compile(r"[^\s\"',:{}\[\]\\]{8,}")


def scrubbed(text: str) -> str:
    """Return a text without what is known to be secret, and without what looks like it."""
    text = struck_in_text(_without_keys(redaction.redact(text)))
    text = _BEARER.sub(rf"\1 {redaction.STRUCK}", text)
    return _NAMED.sub(rf"\1{redaction.STRUCK}", text)


def scrubbed_values(value: Any) -> Any:
    """Return a JSON-like value whose texts are scrubbed; numbers stay, except under the name of a secret."""
    if isinstance(value, dict):
        return {scrubbed(str(key)): _named(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed_values(each) for each in value]
    return scrubbed(value) if isinstance(value, str) else value


def scrubbed_document(text: str) -> str:
    """Return a JSON document that is scrubbed and still one; what is none is scrubbed as text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return scrubbed(text)
    return as_json(scrubbed_values(value))


def scrubbed_lines(text: str) -> str:
    """Return JSON lines, each scrubbed by itself; lines between that are no JSON objects are scrubbed together."""
    lines = text.removesuffix("\n").split("\n")  # JSON may hold the other characters that end a line
    done: list[str] = []
    for is_entry, group in itertools.groupby(map(_entry, lines), key=lambda entry: isinstance(entry, dict)):
        if is_entry:
            done += (json.dumps(scrubbed_values(entry), ensure_ascii=False) for entry in group)
        else:
            done.append(scrubbed("\n".join(map(str, group))))
    return "".join(f"{line}\n" for line in done)


def as_json(value: Any) -> str:
    """Return a document's text."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"


def hide_all(values: Iterable[str]) -> None:
    """Strike out these values in every way that a program may write them: as JSON, in an address, in base64."""
    import base64
    from urllib.parse import quote

    for value in values:
        clean = value.encode(errors="replace")
        written = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(clean, safe="")}
        if len(value) >= redaction.SHORTEST:
            alone = base64.b64encode(clean).decode().rstrip("=")
            written |= {alone, alone.translate(_URL_SAFE)}
        if len(value) >= INNER:
            written.update(_in_base64(clean))
        redaction.hide(written)


def hide_files(directory: Path) -> None:
    """Strike out what the files of a workspace's secrets hold; of a damaged one every word."""
    for path in _files(directory):
        text = _text(path, FILE_LIMIT)
        try:
            found = _secrets(json.loads(text), is_secret=False)
        except (ValueError, RecursionError):
            found = []
        hide_all(_lines(found) or _WORD.findall(text))


def hide_keys(directory: Path) -> None:
    """Strike out the private keys that lie in a directory, each line of them."""
    for path in _files(directory):
        text = _text(path, KEY_LIMIT)
        if "PRIVATE KEY-----" in text:
            hide_all(_lines([text]))


def hide_logins(text: str) -> None:
    """Strike out what lets one in of the addresses in a text, such as `http://user:password@proxy`."""
    hide_all(credentials(text))


def _lines(texts: Iterable[str]) -> list[str]:
    """Return the lines one by one, for each may turn up by itself; not those that every key has."""
    return [line for text in texts for line in text.splitlines() if not line.startswith("-----")]


def _secrets(value: Any, *, is_secret: bool) -> list[str]:
    if isinstance(value, str):
        return [value] if is_secret else []
    if isinstance(value, dict):
        return [
            text for name, each in value.items() for text in _secrets(each, is_secret=is_secret or name in SECRET_NAMES)
        ]
    return [text for each in value for text in _secrets(each, is_secret=is_secret)] if isinstance(value, list) else []


def _named(name: str, value: Any) -> Any:
    is_told = isinstance(value, bool) or value is None or len(str(value)) < redaction.SHORTEST
    is_secret = _NAME.search(name) is not None and isinstance(value, str | int | float) and not is_told
    return redaction.STRUCK if is_secret else scrubbed_values(value)


def _entry(line: str) -> dict[str, Any] | str:
    """Return the object that a line is, or else the line."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return line
    return entry if isinstance(entry, dict) else line


def _without_keys(text: str) -> str:
    """Return a text without private keys, in one pass however many begin in it."""
    ends = [match.end() for match in _PEM_END.finditer(text)]
    kept, at = [], 0
    while (begin := _PEM_BEGIN.search(text, at)) is not None:
        later = bisect.bisect_right(ends, begin.end())
        is_whole = later < len(ends) and ends[later] <= begin.end() + PEM_LIMIT
        rest = _PEM_REST.match(text, begin.end())
        kept += [text[at : begin.start()], redaction.STRUCK]
        at = ends[later] if is_whole else rest.end() if rest is not None else begin.end()
    return "".join((*kept, text[at:]))


def _in_base64(value: bytes) -> Iterator[str]:
    """Yield what is always the same in the base64 of a text with the value in it: where it begins is one of three."""
    import base64

    for skipped in range(3):
        bits = 8 * skipped
        encoded = base64.b64encode(b"\0" * skipped + value).decode()
        inner = encoded[-(-bits // 6) : (bits + 8 * len(value)) // 6]
        yield from (inner, inner.translate(_URL_SAFE))


def _files(directory: Path) -> list[Path]:
    try:
        return [path for path in sorted(directory.rglob("*")) if path.is_file()]
    except OSError:
        return []


def _text(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""
