"""YAML that was written to hurt, or that no parser was tested with: values to stand behind any key."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.damage import broken

DEEP = 500
"""Levels of nesting beyond what the parser's recursion bears; it is slow with many more."""

_LAUGHS = "[&a [x, x, x, x, x, x, x, x, x]" + "".join(
    f", &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
BOMBS = {
    "laughs": _LAUGHS + "]",
    "laughing mappings": "[&a {x: y}"
    + "".join(
        f", &{name} {{{', '.join(f'k{n}: *{before}' for n in range(9))}}}"
        for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
    )
    + "]",
    "itself": "&itself [*itself]",
    "itself in a mapping": "&itself {of: *itself}",
    "itself as a key": "&itself {? *itself : 1}",
    "deep lists": "[" * DEEP,
    "deep closed lists": "[" * DEEP + "]" * DEEP,
    "deep mappings": "{a: " * DEEP,
    "deep blocks": "- " * DEEP + "x",
    "deep keys": "? " * DEEP + "x",
    "less deep": "[" * 250 + "]" * 250,
    "deep enough": "[" * 80 + "]" * 80,
}
"""Short texts of which careless readers make something endless."""

TAGS = tuple(
    f"!!{tag} {value}"
    for tag in (
        "binary",
        "set",
        "omap",
        "pairs",
        "timestamp",
        "float",
        "int",
        "bool",
        "null",
        "str",
        "map",
        "seq",
        "no",
    )
    for value in ("", "x", "''", "[a]", "{a: b}", "[{a: b}]", "12:70", "=")
)
SCALARS = (
    *(
        "9" * 5000,
        "0x" + "f" * 5000,
        "0b" + "1" * 20000,
        "0o" + "7" * 6000,
        "1" + ":59" * 2000,
        "-0x1",
        "0x",
        "0b",
        "_",
    ),
    *("9" * 400, "9" * 400 + "G", "1" + "0" * 400 + "s", "1e999999", "-_", "+", ".", "._", "0x_", "1_0", "1__", "0_"),
    *(".inf", "-.inf", ".nan", "1.5e", "=", "<<", "~", "null", "yes", "08", "1:2:3", "1:99", "190:20:30.15", "0.1.2"),
    *("2001-99-99", "0001-01-01T00:00:00+23:59", "9999-12-31 23:59:59 -23:59", "2001-12-14t21:59:43.99999999999-05:00"),
    *("0001-01-01", "2001-02-30", "2001-01-01T99:99:99Z", "2001-01-01 00:00:00 +99:99", "2001-01-01 1:1:1"),
    *("!!python/object/apply:os.system ['touch pwned']", "!!python/name:os.system", "!!python/object:object {}"),
    *(
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"\\U0010ffff"',
        '"\\UFFFFFFFF"',
        '"\\x00"',
        '"\\x1b[2J"',
        '"\\u202e"',
        '"a\\nb"',
    ),
    *(
        "'a",
        '"a',
        '"\\q"',
        "|\n  x",
        ">-\n\n x",
        "|9\n x",
        "|+-\n",
        "&a",
        "&a &b c",
        "*nope",
        "&a [&a x, *a]",
        "@x",
        "`x`",
    ),
    *(
        "[a, b",
        "{a: b",
        "]",
        "}",
        "a: b: c",
        "- - -",
        "? ",
        ": ",
        "#",
        " #",
        "---",
        "...",
        "--- a\n--- b",
        "\t",
        "%YAML 1.1",
    ),
    *("{[a]: b}", "{{a: b}: c}", "[{[1, 2]: 3}]", "{1: 2}", "{null: 1}", "{2001-01-01: 1}", "{a: 1, a: 2}", "{<<: x}"),
    *(
        "{<<: {a: 1}}",
        "{<<: [{a: 1}, {a: 2}]}",
        "{<<: *nope}",
        "{<<: {<<: {name: x}}}",
        "!x y",
        "! y",
        "!<x> y",
        "!",
        "!!",
    ),
    *(
        "~nobody-of-this-name/x",
        "~",
        "''",
        '"\\0"',
        '"a\\0b"',
        "/dev/null",
        "/proc/self/mem",
        "x" * 5000,
        "é\u0301",
        "\ufeff",
    ),
    *(
        "http://[",
        "https://[::1",
        "http://a:99999999/",
        "https://\\x00",
        '"https://a\\0b"',
        "https://é.example",
        "http://a\ufeff",
    ),
    *("https://u@h", '"https://\\ud800.example"', "'80:'", "':80'", "'80:80:80'", "'٣'", "٣G", "1" * 64, "a.json"),
)
"""Values, most of them no values at all."""

values = st.one_of(
    st.sampled_from(SCALARS),
    st.sampled_from(TAGS),
    st.sampled_from(sorted(BOMBS.values())),
    st.text(alphabet="-_:?![]{}&*|>%@`'\"#,~<=. \n\t019aé\u2028\x85", max_size=25),
    st.text(max_size=10),
)


@st.composite
def grafted(draw: st.DrawFn, text: str) -> str:
    """Draw a document in which something else stands behind a key, or a further key or line is."""
    lines = text.splitlines(keepends=True)
    for _ in range(draw(st.sampled_from([1, 1, 2]))):
        at = draw(st.integers(0, len(lines) - 1))
        head, colon, _ = lines[at].partition(": ")
        value = draw(values)
        if colon and draw(st.integers(0, 3)):
            lines[at] = f"{head}: {value}\n"
        elif draw(st.booleans()):
            lines.insert(at, f"{value}\n")
        else:
            lines.insert(at, lines[at])
    return "".join(lines)


def spoilt(text: str) -> st.SearchStrategy[bytes]:
    """Return bytes where a YAML document should be."""
    other = values.map(lambda value: value.encode("utf-8", "surrogatepass")) | st.binary(max_size=60)
    grafts = grafted(text).map(lambda text: text.encode("utf-8", "surrogatepass"))
    return st.one_of(grafts, grafts, broken(text.encode()), other)
