"""The timeline of a command as a page: the picture, and a table of the same figures."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from polis import timeline
from polis.durations import readable
from polis.pictures import timeline as pictured
from polis.pictures.drawing import FONT, MARK, TITLE_LIMIT, clean

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from polis.timeline import Row, Timeline

COLUMNS = ("what", "began at", "ended at", "took", "of all", "outcome")

TEXT_LIMIT = 400

STYLE = f"""
:root {{ color-scheme: light dark; }}
body {{ font-family: {FONT}; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }}
svg {{ height: auto; max-width: 100%; }}
table {{ border-collapse: collapse; font-size: 0.9rem; margin-top: 1.5rem; width: 100%; }}
caption {{ font-weight: 600; padding: 0.4rem 0; text-align: left; }}
th, td {{ border-bottom: 1px solid #8c959f66; padding: 0.25rem 0.6rem; text-align: right; }}
th:first-child, td:first-child, th:last-child, td:last-child {{ text-align: left; }}
td.stage {{ padding-left: 1.8rem; }}
td.step {{ padding-left: 3.2rem; }}
"""

HEAD = """\
<!DOCTYPE html>
<!-- {mark} -->
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>
<title>{title}</title>
<style>{style}</style>
</head>
"""


def render(found: Timeline) -> str:
    """Return the page as the text of an HTML file, which is well-formed XML as well."""
    body = ET.Element("body")
    main = ET.SubElement(body, "main")
    main.append(pictured.draw(found))
    main.append(_table(found))
    _notes(main, found)
    title = escape(clean(pictured.heading(found), TEXT_LIMIT))
    text = ET.tostring(body, encoding="unicode", short_empty_elements=False)
    return f"{HEAD.format(mark=MARK, title=title, style=STYLE)}{text}\n</html>\n"


def _table(found: Timeline) -> Element:
    table = ET.Element("table")
    ET.SubElement(table, "caption").text = "All figures; times are since the command began"
    head = ET.SubElement(ET.SubElement(table, "thead"), "tr")
    for name in COLUMNS:
        ET.SubElement(head, "th", scope="col").text = name
    body = ET.SubElement(table, "tbody")
    for row in found.rows:
        _phase(body, found, row)
    idle = sum(gap.end_s - gap.start_s for gap in found.gaps)
    _line(body, ["between phases", "", "", *_figures(found, idle), ""])
    _line(body, ["in all", "", "", *_figures(found, found.total_s), found.outcome.replace("-", " ")])
    return table


def _phase(body: Element, found: Timeline, row: Row) -> None:
    _line(body, [row.phase, *_times(row.start_s, row.end_s), *_figures(found, row.seconds), pictured.told(row)])
    if len(row.spans) > 1:
        for span in row.spans:
            seconds = span.end_s - span.start_s
            words = {timeline.TRIED: "at work", timeline.FAILED: "attempt", timeline.WAITED: "wait"}[span.kind]
            outcome = f"failed: {clean(span.text, TITLE_LIMIT)}" if span.kind == timeline.FAILED else ""
            _line(body, [words, *_times(span.start_s, span.end_s), *_figures(found, seconds), outcome], kind="stage")
    for stage in row.stages:
        seconds = stage.end_s - stage.start_s
        figures = [*_times(stage.start_s, stage.end_s), *_figures(found, seconds), ""]
        _line(body, [stage.name, *figures], kind="step" if stage.within else "stage")


def _notes(main: Element, found: Timeline) -> None:
    lines = pictured.notes(found)
    if not lines:
        return
    ET.SubElement(main, "h2").text = "What was said"
    items = ET.SubElement(main, "ul")
    for line in lines:
        ET.SubElement(items, "li").text = clean(line, TEXT_LIMIT)


def _times(start: float, end: float) -> list[str]:
    return [f"{start:.1f} s", f"{end:.1f} s"]


def _figures(found: Timeline, seconds: float) -> list[str]:
    return [readable(seconds), f"{100 * found.share(seconds):.1f} %"]


def _line(body: Element, cells: list[str], *, kind: str = "") -> None:
    line = ET.SubElement(body, "tr")
    for place, words in enumerate(cells):
        cell = ET.SubElement(line, "td", {"class": kind} if kind and place == 0 else {})
        cell.text = clean(words, TEXT_LIMIT)
