"""What commands print with --json, from the files in schemas/, which every document is tested against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from docsite.markdown import plain, table
from docsite.shapes import Shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMAS = Path(__file__).parents[1] / "schemas"
HEAD = ("key", "value", "meaning")


def page() -> str:
    """Return one section for each document, with all its keys."""
    files = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(SCHEMAS.glob("*.json"))}
    shapes = Shapes(files)
    return "\n".join(line for name in files for line in _section(name, shapes))


def _section(name: str, shapes: Shapes) -> Iterator[str]:
    schema = shapes.files[name]
    yield from (f"## {name.removesuffix('.json')}", "", f"{plain(schema['title'])} ([schema](../schemas/{name})).", "")
    if "properties" in schema:
        yield from table(HEAD, shapes.keys(schema, name))
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _alternative(each, name, shapes)
    if "oneOf" not in schema:
        for part, found in schema.get("$defs", {}).items():
            words = f"{_sentence(shapes.told(found, name))} {plain(found.get('description', ''))}"
            yield from (f"### {part}", "", words.strip(), "")
            yield from table(HEAD, shapes.keys(found, name)) if "properties" in found else ()


def _alternative(each: dict[str, object], name: str, shapes: Shapes) -> Iterator[str]:
    """Yield one of the forms that a line may have."""
    whole, _, part = str(each.get("$ref", "")).partition("#")
    if whole and not part:
        yield from (f"Or a line of [{whole.removesuffix('.json')}](#{whole.removesuffix('.json')}).", "")
        return
    found, place = shapes.resolved(dict(each), name)
    event = found.get("properties", {}).get("event", {}).get("const")
    yield from (f"### {event or part.rpartition('/')[2] or 'result'}", "")
    if "description" in found:
        yield from (plain(found["description"]), "")
    yield from table(HEAD, shapes.keys(found, place))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
