"""JSON Schemas in words: the type of a value, and the keys of a document, however deep they lie."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from docsite.markdown import code, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Schema = dict[str, Any]

MOST_VALUES: Final = 12
"""Of a longer list of possible values, only the type is told."""


@dataclass(frozen=True)
class Shapes:
    """A schema file, with those that it refers to by name."""

    files: Mapping[str, Schema]

    def resolved(self, schema: Schema, file: str) -> tuple[Schema, str]:
        """Return what a schema refers to, and the file that it is in; the schema itself if it refers to nothing."""
        while "$ref" in schema:
            name, _, path = schema["$ref"].partition("#")
            file = name or file
            found: Any = self.files[file]
            for part in path.strip("/").split("/") if path else ():
                found = found[part]
            # What is said beside a reference (a description) counts before what is said where it leads.
            schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
        return schema, file

    def keys(self, schema: Schema, file: str, prefix: str = "") -> Iterator[tuple[str, str, str]]:
        """Yield a row for each key: its path (`services[].name`), its type and what it means."""
        required = schema.get("required", [])
        for name, entry in schema.get("properties", {}).items():
            found, place = self.resolved(entry, file)
            path = f"{prefix}{name}"
            optional = "" if name in required or not required else " (may be missing)"
            yield code(path), f"{self.told(entry, file)}{optional}", plain(found.get("description", ""))
            for inner, within, suffix in self._inside(found, place):
                yield from self.keys(inner, within, f"{path}{suffix}.")

    def told(self, schema: Schema, file: str) -> str:
        """Return the type of a value in a few words."""
        found, place = self.resolved(schema, file)
        if "const" in found:
            return code(json.dumps(found["const"]))
        if "enum" in found:
            values = [json.dumps(each) for each in found["enum"]]
            return ", ".join(map(code, values)) if len(values) <= MOST_VALUES else "text"
        for word in ("anyOf", "oneOf"):
            if word in found:
                return " or ".join(dict.fromkeys(self.told(each, place) for each in found[word]))
        if "pattern" in found and not _types(found):
            return "text"
        if "array" in _types(found):
            items = self.told(found["items"], place) if "items" in found else "anything"
            return " or ".join([f"list of {items}", *(_word(each) for each in _types(found) if each != "array")])
        return " or ".join(dict.fromkeys(_word(each) for each in _types(found))) or "anything"

    def _inside(self, found: Schema, place: str) -> Iterator[tuple[Schema, str, str]]:
        """Yield the objects inside a value: itself, its alternatives, the items of a list."""
        if "properties" in found:
            yield found, place, ""
        for each in (*found.get("anyOf", ()), *found.get("oneOf", ())):
            yield from self._inside(*self.resolved(each, place))
        if isinstance(found.get("items"), dict):
            for inner, within, suffix in self._inside(*self.resolved(found["items"], place)):
                yield inner, within, f"[]{suffix}"


def _types(schema: Schema) -> list[str]:
    said = schema.get("type", [])
    return [said] if isinstance(said, str) else list(said)


def _word(name: str) -> str:
    return {"string": "text", "object": "object", "integer": "integer", "boolean": "true or false"}.get(name, name)
