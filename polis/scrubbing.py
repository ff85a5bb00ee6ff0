"""What is to leave this machine in a bug report, without secrets.

Struck out is what the host keeps as secret, in each way that a program may write it, and what looks like a secret to
anybody. `polis.redaction` does the striking; here it learns more than any single command has to know.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from polis import redaction

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE_LIMIT = 4 * 1024 * 1024
"""Bytes of a file with secrets that is read, to know what must not be shown."""

KEY_LIMIT = 64 * 1024
"""Bytes of a file that may hold a private key."""

SECRET_NAMES = ("key", "passwords", "values")
"""Where the files of a workspace's secrets hold them; beside stand names and dates, which may be read."""

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----"
    r"(?:.{0,8000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|[A-Za-z0-9+/=\s\\]{0,8000})",
    re.DOTALL,
)
_LOGIN = re.compile(r"://[^/\s:@\"']{0,200}:[^/\s@\"']{1,200}@")
_BEARER = re.compile(r"\b(Bearer|Basic|Token)\s+[A-Za-z0-9+/_.~=-]{12,}", re.IGNORECASE)
_NAMED = re.compile(
    r"((?:api[_-]?key|secret|token|passwd|password|passphrase|credentials?)\\?[\"']?\s{0,9}[=:]\s{0,9}\\?[\"']?)"
    r"(?!\[redacted\])[^\s\"'\\,;}&]{6,}",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\s\"',:{}\[\]\\]{8,}")
_PASSWORD = re.compile(r"://[^/\s:@]{0,200}:([^/\s@]{1,200})@")


def scrubbed(text: str) -> str:
    """Return a text without what is known to be secret, and without what looks like it."""
    text = _PEM.sub(redaction.STRUCK, redaction.redact(text))
    text = _LOGIN.sub(f"://{redaction.STRUCK}@", text)
    text = _BEARER.sub(rf"\1 {redaction.STRUCK}", text)
    return _NAMED.sub(rf"\1{redaction.STRUCK}", text)


def as_json(value: Any) -> str:
    """Return a document's text; its values are struck through before JSON escapes them."""
    return json.dumps(redaction.redact_all(value), indent=2, ensure_ascii=False, default=str) + "\n"


def as_lines(text: str) -> str:
    """Return JSON lines with the values in them struck through; a line that is no JSON stays for `scrubbed`."""
    return "".join(f"{_struck(line)}\n" for line in text.splitlines())


def hide_all(values: Iterable[str]) -> None:
    """Strike out these values in every way that a program may write them: as JSON, in an address, in base64."""
    import base64
    from urllib.parse import quote

    for value in values:
        clean = value.encode(errors="replace")
        written = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(clean, safe="")}
        if len(value) >= redaction.SHORTEST:
            written.add(base64.b64encode(clean).decode().rstrip("="))
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
    """Strike out the passwords of addresses such as `http://user:password@proxy`."""
    hide_all(_PASSWORD.findall(text))


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


def _struck(line: str) -> str:
    try:
        return json.dumps(redaction.redact_all(json.loads(line)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return line


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
