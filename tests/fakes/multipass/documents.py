"""What Multipass does to a cloud-init document: parsed, written again without quotes, its own entries appended."""

from __future__ import annotations

from typing import Any

STRING = "tag:yaml.org,2002:str"


def yaml() -> Any:
    """Return PyYAML; the program starts without site-packages, which few of its calls need."""
    try:
        import yaml as module
    except ImportError:
        import site

        site.main()
        import yaml as module

    return module


def rewritten(text: str) -> str:
    """Return what the guest gets. An explicit tag is all that keeps a text a text (facts, section 5)."""
    module = yaml()
    from tests.requoting import without_quotes

    events = list(module.parse(text))
    kept: list[str] = []
    for event in events:
        if isinstance(event, module.ScalarEvent) and event.tag == STRING:
            kept.append(event.value)
            event.value, event.tag, event.style = f"polis-tagged-{len(kept)}-", None, None
            event.implicit = (True, False)
    root = module.compose(module.emit(events, width=4096))
    if not isinstance(root, module.MappingNode):
        raise ValueError("a cloud-config is a mapping")  # noqa: TRY004 -- the document's fault
    _append(module, root, "users", "default")
    _append(module, root, "packages", "pollinate")
    result: str = without_quotes(module.serialize(root, width=4096))
    for number, value in enumerate(kept, 1):
        written = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        result = result.replace(f"polis-tagged-{number}-", f"!<{STRING}> {written}")
    return result


def _append(module: Any, root: Any, key: str, entry: str) -> None:
    """Append to a list that the user gave; a key that is not there is left to the vendor data."""
    for name, value in root.value:
        if name.value == key and isinstance(value, module.SequenceNode):
            value.value.append(module.ScalarNode("tag:yaml.org,2002:str", entry))
