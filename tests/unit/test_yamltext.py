"""What is no YAML is refused with its place, and nothing that the parser raises gets past that."""

from __future__ import annotations

import pytest

from polis import yamltext
from polis.errors import ConfigurationError


def test_keys_remember_their_place_and_strings_their_quotes_if_that_is_wanted() -> None:
    document = yamltext.load(b'a: 1\nb:\n  c: "010"\n', "my.yaml", quotes=True)
    assert document == {"a": 1, "b": {"c": "010"}}
    assert document["b"].lc.key("c") == (2, 2)
    assert type(document["b"]["c"]).__name__ == "DoubleQuotedScalarString"
    assert type(yamltext.load('c: "010"', "my.yaml")["c"]) is str
    assert yamltext.load("# nothing\n", "my.yaml") is None


def test_plain_values_are_plain() -> None:
    found = yamltext.load_plain("{a: [1, x]}", "POLIS_X")
    assert (type(found), type(found["a"]), found) == (dict, list, {"a": [1, "x"]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [\n", "my.yaml:3:1: "),
        ("a: 1\n\tb: 2\n", "my.yaml:2:1: "),
        ("a: 'x\n", "my.yaml:2:1: "),
        ("a: 1\na: 2\n", "my.yaml:2:1: found duplicate key"),
        ("a: 1\n---\nb: 2\n", "my.yaml:2:1: "),
        ("a: [-_]\n", "my.yaml: not readable as YAML"),
        ("[" * 1000, "my.yaml: not readable as YAML"),
        (b"a: \xff\n", "my.yaml: not readable as YAML"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        yamltext.load(text, "my.yaml")
    assert caught.value.message.startswith(message)
    assert caught.value.remains == "nothing was changed"


def test_a_variable_s_text_is_refused_in_the_same_way() -> None:
    with pytest.raises(ConfigurationError, match=r"^POLIS_X:1:5: "):
        yamltext.load_plain("{a: ]", "POLIS_X")
