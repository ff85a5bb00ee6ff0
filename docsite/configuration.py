"""The keys of polis.yaml, from the schema that `polis config schema` prints, with their defaults and variables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from docsite.markdown import code, plain, table
from docsite.shapes import Shapes
from polis.cli.config_schema import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

_GIB = 1024**3


def page() -> str:
    """Return a table of all keys, and one of the keys in each that is a mapping."""
    document = schema()
    shapes = Shapes({"": document})
    rows, parts = [], []
    for key, entry in document["properties"].items():
        rows.append((_linked(key, entry), shapes.told(entry, ""), _default(key, entry), plain(entry["description"])))
        parts += list(_mapping(key, entry, shapes))
    head = ("key", "value", "default", "meaning")
    said = "The variable of a key is `POLIS_` and the key in capitals: `POLIS_CPUS`, `POLIS_CA_CERTS`."
    return "\n".join([said, "", *table(head, rows), *parts])


def _linked(key: str, entry: dict[str, Any]) -> str:
    return f"[`{key}`](#{key})" if _references(entry) else code(key)


def _references(entry: dict[str, Any]) -> list[str]:
    found = [entry, *entry.get("anyOf", ()), *_items(entry)]
    return [each["$ref"] for each in found if "$ref" in each]


def _items(entry: dict[str, Any]) -> list[dict[str, Any]]:
    items = entry.get("items", {})
    return [items, *items.get("anyOf", ())]


def _mapping(key: str, entry: dict[str, Any], shapes: Shapes) -> Iterator[str]:
    for reference in _references(entry):
        found, _ = shapes.resolved({"$ref": reference}, "")
        yield from (f"## {key}", "", plain(found.get("description", "")), "")
        yield from table(("key", "value", "meaning"), shapes.keys(found, ""))


def _default(key: str, entry: dict[str, Any]) -> str:
    """Return the default as one would write it."""
    if key == "image":
        return code('"24.04"')
    value = entry.get("default")
    if value in (None, [], {}, ""):
        return ""
    if key in ("memory", "disk"):
        return code(f"{value // _GIB}G")
    if key == "timeout":
        return code(f"{value / 60:g}m")
    return code(value if isinstance(value, str) else json.dumps(value))
