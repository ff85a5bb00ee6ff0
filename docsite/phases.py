"""The state machine as `polis graph --format svg` draws it, of a workspace that there is not yet."""

from __future__ import annotations

from polis.diagram import Diagram
from polis.phase import Phase
from polis.pictures import drawing as pictures
from polis.pictures import graph


def drawing() -> str:
    """Return the picture as SVG."""
    return pictures.render(graph.draw(Diagram("polis", Phase.ABSENT)))
