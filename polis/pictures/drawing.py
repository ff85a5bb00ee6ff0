"""An SVG drawing, element by element: light and dark, readable by a screen reader, nothing in it that acts or loads."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from polis.redaction import redact

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MARK = "This picture was drawn by polis."
"""What every file says at its beginning, so that only a picture of ours is replaced without a question."""

TITLE_LIMIT = 120
"""Characters of what is shown when a pointer rests on an element."""

FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"

STYLE = f"""
svg.polis {{ background: #ffffff; font-family: {FONT}; font-size: 12px; }}
.polis text {{ fill: #1f2328; }}
.polis .paper {{ fill: #ffffff; }}
.polis .loud {{ font-size: 17px; font-weight: 600; }}
.polis .strong {{ font-weight: 600; }}
.polis .quiet {{ fill: #59636e; }}
.polis .small {{ font-size: 11px; }}
.polis .alarm {{ fill: #b3261e; }}
.polis .grid {{ stroke: #d8dee4; stroke-width: 1; }}
.polis .tried {{ fill: #2f6fb3; }}
.polis .failed {{ fill: #f6c7c1; stroke: #b3261e; stroke-width: 1; }}
.polis .waited {{ fill: url(#polis-hatch); stroke: #8c959f; stroke-width: 1; }}
.polis .hatch {{ stroke: #8c959f; stroke-width: 1.5; }}
.polis .left {{ fill: #ffffff; stroke: #2f6fb3; stroke-width: 1.5; }}
.polis .stage {{ fill: #6aa5a0; }}
.polis .step {{ fill: #a9cdc9; }}
.polis .gap {{ fill: #b6bec7; }}
.polis .good {{ stroke: #1a7f37; fill: none; stroke-width: 2; }}
.polis .bad {{ stroke: #b3261e; fill: none; stroke-width: 2; }}
.polis .box {{ fill: #f6f8fa; stroke: #59636e; stroke-width: 1.5; }}
.polis .here {{ fill: #2f6fb3; stroke: #2f6fb3; }}
.polis text.on {{ fill: #ffffff; }}
.polis .lost {{ stroke: #b3261e; stroke-dasharray: 5 3; }}
.polis .way {{ fill: none; stroke: #59636e; stroke-width: 1.5; }}
.polis .dashed {{ stroke-dasharray: 5 4; }}
.polis .tip {{ fill: #59636e; }}
@media (prefers-color-scheme: dark) {{
svg.polis {{ background: #0d1117; }}
.polis text {{ fill: #e6edf3; }}
.polis .paper {{ fill: #0d1117; }}
.polis .quiet {{ fill: #9198a1; }}
.polis .alarm {{ fill: #ff8a80; }}
.polis .grid {{ stroke: #2b3138; }}
.polis .tried {{ fill: #4a90d9; }}
.polis .failed {{ fill: #5a1f1b; stroke: #ff8a80; }}
.polis .left {{ fill: #0d1117; stroke: #4a90d9; }}
.polis .stage {{ fill: #3f8f88; }}
.polis .step {{ fill: #2a5d59; }}
.polis .gap {{ fill: #4a525b; }}
.polis .good {{ stroke: #3fb950; }}
.polis .bad {{ stroke: #ff8a80; }}
.polis .box {{ fill: #161b22; stroke: #9198a1; }}
.polis .here {{ fill: #4a90d9; stroke: #4a90d9; }}
.polis text.on {{ fill: #0d1117; }}
.polis .lost {{ stroke: #ff8a80; }}
.polis .way {{ stroke: #9198a1; }}
.polis .tip {{ fill: #9198a1; }}
}}
"""


class Drawing:
    """A picture of a fixed width; the height is known once everything is in it."""

    def __init__(self, width: float, title: str, description: str) -> None:
        self._width = width
        self._root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "class": "polis",
                "role": "img",
                "aria-labelledby": "polis-title polis-description",
            },
        )
        _add(self._root, "title", clean(title, TITLE_LIMIT), id="polis-title")
        _add(self._root, "desc", clean(description, 4000), id="polis-description")
        _add(self._root, "style", STYLE)
        hatch = _add(
            _add(self._root, "defs"), "pattern", id="polis-hatch", width="6", height="6", patternUnits="userSpaceOnUse"
        )
        _add(hatch, "path", d="M0 6 L6 0 M-1.5 1.5 L1.5 -1.5 M4.5 7.5 L7.5 4.5", **{"class": "hatch"})
        self._paper = self.rectangle("paper", 0, 0, width, 0)

    def rectangle(
        self, kind: str, left: float, top: float, width: float, height: float, *, title: str = "", corner: float = 0
    ) -> Element:
        """Draw a rectangle and return it; `title` is shown when a pointer rests on it."""
        place = {"x": number(left), "y": number(top), "width": number(width), "height": number(height)}
        rounded = {"rx": number(corner)} if corner else {}
        return self._titled(_add(self._root, "rect", **{"class": kind}, **place, **rounded), title)

    def text(self, words: str, left: float, top: float, *, kind: str = "", anchor: str = "start") -> None:
        """Write a line with its baseline at `top`, beginning (or ending: `end`, or centred: `middle`) at `left`."""
        attributes = {"x": number(left), "y": number(top)}
        attributes |= {"class": kind} if kind else {}
        attributes |= {"text-anchor": anchor} if anchor != "start" else {}
        _add(self._root, "text", clean(words, TITLE_LIMIT * 2), **attributes)

    def path(self, kind: str, way: str, *, title: str = "") -> None:
        """Draw a path, whose `way` is in SVG's own language."""
        self._titled(_add(self._root, "path", d=way, **{"class": kind}), title)

    def finish(self, height: float) -> Element:
        """Return the picture, so high."""
        self._paper.set("height", number(height))
        self._root.set("viewBox", f"0 0 {number(self._width)} {number(height)}")
        self._root.set("width", number(self._width))
        self._root.set("height", number(height))
        return self._root

    def _titled(self, element: Element, title: str) -> Element:
        if title:
            _add(element, "title", clean(title, TITLE_LIMIT))
        return element


def render(picture: Element) -> str:
    """Return the picture as the text of an SVG file."""
    body = ET.tostring(picture, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- {MARK} -->\n{body}\n'


def clean(text: str, limit: int) -> str:
    """Return a text on one line, cut, without any secret, and without characters that XML or a reader stumbles over.

    ElementTree escapes what is left.
    """
    line = " ".join(redact(text)[: 8 * limit].split())
    line = line if len(line) <= limit else f"{line[: limit - 1]}…"
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def wrap(text: str, width: int, lines: int) -> list[str]:
    """Return a text in lines of so many characters, cut after so many lines."""
    import textwrap

    return textwrap.wrap(text, width, max_lines=lines, placeholder=" …")


def number(value: float) -> str:
    """Return a number as an attribute: a tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")


def _add(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text or None
    return element
