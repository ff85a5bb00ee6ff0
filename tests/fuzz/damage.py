"""Damage to documents that were valid: what a disk, an editor, another version or an enemy makes of them."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

DEEP = 3000
"""Levels of nesting beyond what any parser's recursion bears."""

TOKENS = (
    *("9" * 5000, "-1", "0", "1", "2", "3", "4294967296", "-9223372036854775809", "1e400", "-1e400", "1e-400", "2.0"),
    *("NaN", "Infinity", "-Infinity", "true", "null", "01", "0x10", "'x'", "", "[]", "{}", "[[]]", "{{}}", "[null]"),
    *('"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"\\u001b[2J"', '"\\u202e"', '"a\\nb"', '"\\u2028"', '"\\u007f"'),
    *('""', '" "', '"' + "x" * 5000 + '"', '"9999-12-31T23:59:59-23:59"', '"0001-01-01T00:00:00+23:59"'),
    *('"healthy"', '"absent"', "1" + "0" * 400, "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP),
    *("[" * 300 + "]" * 300, "253402300799", "-62135596800", '"NaN"', '"0001-01-01T00:00:00"', '"polis"'),
)
"""JSON, or nearly, to stand where something else stood."""

_MARK = "\ue000token "

odd_text = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "\x1b]0;x\x07", "a\nnext: b", "\r", "\u202e\u2066", "é" * 300, "\x00", "\x85", "x" * 4097]),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), odd_text, st.sampled_from([2**31, 2**64, -1, 10**400])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_text, inner, max_size=3), max_leaves=8
)
"""Whatever JSON can hold."""


@st.composite
def deformed(draw: st.DrawFn, document: Any) -> Any:
    """Draw a document of another shape: some of its parts replaced, removed, renamed or added."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        changed = _deform(draw, changed)
    return changed


@st.composite
def misspelt(draw: st.DrawFn, document: Any) -> bytes:
    """Draw JSON, or nearly: a deformed document, in which tokens stand that no serializer would write."""
    text = json.dumps(draw(deformed(document)), indent=draw(st.sampled_from([None, 1])))
    for number, token in enumerate(TOKENS):
        text = text.replace(json.dumps(f"{_MARK}{number}"), token)
    if draw(st.integers(0, 4)) == 0:
        text = _doubled(draw, text)
    return text.encode()


@st.composite
def broken(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw what is left of some bytes: flipped, cut off, torn out, doubled, overwritten."""
    rest = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(rest)))
        to = min(len(rest), at + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["flip", "cut", "tear", "double", "overwrite", "zero"])):
            case "flip" if at < len(rest):
                rest[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del rest[at:]
            case "tear":
                del rest[at:to]
            case "double":
                rest[at:at] = rest[at:to]
            case "zero":
                rest[at:to] = bytes(to - at)
            case _:
                rest[at:to] = draw(st.binary(max_size=8))
    return bytes(rest)


def spoilt(document: Any) -> st.SearchStrategy[bytes]:
    """Return bytes where the JSON of a document should be: misspelt, broken, or something else altogether."""
    good = json.dumps(document).encode()
    anything = st.binary(max_size=200) | st.sampled_from(TOKENS).map(str.encode) | values.map(json.dumps).map(_encoded)
    return st.one_of(misspelt(document), misspelt(document), broken(good), anything)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_tokens = st.integers(0, len(TOKENS) - 1).map(lambda number: f"{_MARK}{number}")


def _deform(draw: st.DrawFn, document: Any) -> Any:
    parents = list(_containers(document))
    new = draw(_tokens | _tokens | values)
    if not parents or draw(st.integers(0, 30)) == 0:
        return new
    parent = draw(st.sampled_from(parents))
    keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    if not keys or draw(st.integers(0, 5)) == 0:
        _add(parent, draw(odd_text), new)
        return document
    key = draw(st.sampled_from(keys))
    if draw(st.integers(0, 4)) == 0:
        del parent[key]
    else:
        parent[key] = new
    return document


def _add(parent: Any, key: str, value: Any) -> None:
    if isinstance(parent, dict):
        parent[key] = value
    else:
        parent.append(value)


def _containers(node: Any) -> list[Any]:
    if not isinstance(node, dict | list):
        return []
    inner = node.values() if isinstance(node, dict) else node
    return [node, *(found for value in inner for found in _containers(value))]


def _doubled(draw: st.DrawFn, text: str) -> str:
    """Give a mapping the same key twice, first or last with another value."""
    places = [index for index, char in enumerate(text) if char == "{" and '"' in text[index : index + 4]]
    if not places:
        return text
    at = draw(st.sampled_from(places)) + 1
    key = text[text.index('"', at) :].partition('"')[2].partition('"')[0]
    return f'{text[:at]}"{key}":{draw(st.sampled_from(TOKENS[:20]))},{text[at:]}'
