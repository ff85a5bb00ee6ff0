"""What Multipass does to a document before cloud-init sees it: it is parsed and written again, without its quotes."""

from __future__ import annotations

import yaml


def without_quotes(text: str) -> str:
    """Return the document with comments and quotes lost wherever YAML can do without (facts of Multipass 1.16)."""
    root = yaml.compose(text)
    assert root is not None
    _strip(root)
    return "#cloud-config\n" + yaml.serialize(root, width=4096)


def _strip(node: yaml.Node) -> None:
    if isinstance(node, yaml.ScalarNode):
        node.style = "|" if "\n" in node.value else None
        if ":" not in node.value and node.value not in ("", "~", "null") and "\n" not in node.value:
            node.tag = _plain_tag(node.value)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _strip(key)
            _strip(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _strip(value)


def _plain_tag(value: str) -> str:
    """Return the tag that a plain scalar has for cloud-init."""
    try:
        node = yaml.compose(value)
    except yaml.YAMLError:
        node = None
    return node.tag if isinstance(node, yaml.ScalarNode) else "tag:yaml.org,2002:str"
