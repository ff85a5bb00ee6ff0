"""Addresses that let their reader in: with user, password or token before the host, or a signature in the query."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from polis.redaction import STRUCK

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST = 12
"""Characters of a value in a query that is hidden wherever it turns up; a shorter one is a date or a name."""

_WORD = re.compile(r"[^\s\"']+")


def without_credentials(url: str) -> str:
    """Return an address without what stands before its last `@`, and without its query.

    A password may hold `@` and `/` that should have been escaped, and a token may stand alone: so as much is struck
    out as may belong to them, if need be with the host.

    >>> without_credentials("https://user:p@ss/word@host/image?signature=abc")
    'https://[redacted]@host/image?[redacted]'
    """
    begin, slashes, rest = url.partition("//")
    if not slashes:
        return url
    _, at, place = rest.rpartition("@")
    told = f"{begin}//{STRUCK}@{place}" if at else url
    return _WORD.sub(lambda word: _without_query(word[0]), told)


def struck_in_text(text: str) -> str:
    """Return a text with every address in it struck through; blanks and quotes end one."""
    if "//" not in text:
        return text
    return _WORD.sub(lambda word: without_credentials(word[0]), text)


def struck_in_values(value: Any) -> Any:
    """Return a JSON-like value in which each text that is an address is struck through."""
    if isinstance(value, dict):
        return {key: struck_in_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [struck_in_values(each) for each in value]
    return without_credentials(value) if isinstance(value, str) else value


def credentials(text: str) -> Iterator[str]:
    """Yield what must not be shown of the addresses in a text, as it is written and as it is meant."""
    if "//" in text:
        for found in {part for word in _WORD.findall(text) for part in _parts(word)}:
            yield found
            if "%" in found:
                from urllib.parse import unquote

                yield unquote(found)


def credentials_of_values(value: Any) -> Iterator[str]:
    """Yield the same of each text in a JSON-like value, which may be an address as a whole, with blanks and quotes."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from credentials_of_values(each)
    elif isinstance(value, str):
        yield from credentials(value)
        if "//" in value and "\n" not in value:
            yield from _parts(value)


def _parts(address: str) -> Iterator[str]:
    rest = address.partition("//")[2]
    for login, at, _ in (rest.rpartition("@"), rest.partition("@")):
        if at:
            yield from (login, login.partition(":")[2])
    query = rest.partition("?")[2]
    if query:
        yield query
        yield from (each for pair in query.split("&") if len(each := pair.partition("=")[2]) >= SHORTEST)


def _without_query(word: str) -> str:
    place, _, query = word.partition("?")
    return f"{place}?{STRUCK}" if query and "://" in place else word
