"""fleet.yaml: who is in a fleet, how each member is configured, and what is wrong, with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from polis import config, config_fleet
from polis.cli import config_schema
from polis.errors import ConfigurationError, NotFound, UsageError
from polis.fleet import selector, spec
from polis.fleet.spec import Fleet, Member

GIB = 1024**3


def load(text: str, **flags: Any) -> Fleet:
    path = Path("fleet.yaml")
    path.write_text(text)
    return spec.load(path, flags, {})


def member(fleet: Fleet, name: str) -> Member:
    return next(each for each in fleet.members if each.name == name)


def refused(text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    return caught.value


WHOLE = """\
defaults:
  cpus: 2
  incus: {remote: cluster, project: agents}
  retry: {attempts: 3}
members:
  - name: gate
  - name: web
    count: 3
    labels: {tier: front}
    memory: 4G
    incus: {target: n2}
  - plain
"""


def test_members_are_the_defaults_with_what_is_said_of_each() -> None:
    fleet = load(WHOLE)
    assert [each.name for each in fleet.members] == ["gate", "web-1", "web-2", "web-3", "plain"]
    web, gate = member(fleet, "web-2").spec, member(fleet, "gate").spec
    assert (web.name, web.cpus, web.memory) == ("web-2", 2, 4 * GIB)
    assert (web.incus.remote, web.incus.project, web.incus.target) == ("cluster", "agents", "n2")
    assert (gate.name, gate.memory, gate.incus.target, gate.retry.attempts) == ("gate", 8 * GIB, "", 3)
    assert member(fleet, "web-1").labels == {"tier": "front"}


def test_a_mapping_by_name_says_the_same() -> None:
    fleet = load("members:\n  gate:\n  web: {count: 2, cpus: 3}\n")
    assert [each.name for each in fleet.members] == ["gate", "web-1", "web-2"]
    assert member(fleet, "web-2").spec.cpus == 3


def test_what_is_no_part_of_another_is_replaced_as_a_whole() -> None:
    image = {"location": "/a.img", "sha256": "0" * 64, "alias": "old"}
    other = {"location": "/b.img", "sha256": "1" * 64}
    fleet = load(json.dumps({"defaults": {"image": image}, "members": [{"name": "one", "image": other}]}))
    assert (fleet.members[0].spec.image.location, fleet.members[0].spec.image.alias) == ("/b.img", "")


def test_members_that_are_configured_alike_share_it() -> None:
    fleet = load("members: [{name: a, cpus: 2}, {name: b, cpus: 2}, {name: c, count: 2}]\n")
    assert member(fleet, "a").alike is member(fleet, "b").alike
    assert member(fleet, "c-1").alike is member(fleet, "c-2").alike
    assert member(fleet, "c-1").spec.name == "c-1"


def test_variables_and_options_win_but_never_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("fleet.yaml")
    path.write_text("members: [{name: one, cpus: 2}]\n")
    environ = {"POLIS_CPUS": "3", "POLIS_NAME": "other"}
    (only,) = spec.load(path, {"driver": "incus", "name": None}, environ).members
    assert (only.spec.name, only.spec.cpus, only.spec.driver) == ("one", 3, "incus")


def test_paths_start_from_the_file(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (below / "fleet.yaml").write_text("defaults: {bundle: ./b}\nmembers: [one]\n")
    assert spec.load(below / "fleet.yaml", {}, {}).members[0].spec.bundle == below / "b"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("members:\n  - name: web\n    memry: 4G\n", "fleet.yaml:3:5: unknown key `memry`; did you mean `memory`?"),
        ("members:\n  web:\n    conut: 2\n", "fleet.yaml:3:5: unknown key `conut`"),
        ("defaults:\n  memory: lots\nmembers: [a, b]\n", "fleet.yaml:2:3: `memory`: not a size"),
        ("defaults:\n  name: x\nmembers: [a]\n", "fleet.yaml:2:3: `name` stands with a member"),
        ("defaults: [1]\nmembers: [a]\n", "fleet.yaml:1:1: `defaults`: must be a mapping"),
        ("member: [a]\n", "fleet.yaml:1:1: unknown key `member`; a fleet's file has `defaults` and `members`"),
        ("defaults: {}\n", "fleet.yaml: `members`: is missing"),
        ("members: 3\n", "fleet.yaml:1:1: `members`: must be a list, or a mapping by name"),
        ("members:\n  - 3\n", "fleet.yaml:2:5: a member must be a name or a mapping"),
        ("members:\n  - cpus: 2\n", "`name`: field required"),
        ("members:\n  - name: a_b\n", "fleet.yaml:2:5: `name`: string should match pattern"),
        ("members:\n  - name: web\n    count: 0\n", "fleet.yaml:3:5: `count`: input should be greater than"),
        (f"members:\n  - name: {'w' * 62}\n    count: 10\n", "cannot be the name of a workspace"),
        (
            "members:\n  - name: web-2\n  - name: web\n    count: 3\n",
            "there is a member web-2 already, at fleet.yaml:2",
        ),
        ("members:\n  - name: a\n    labels: {name: x}\n", "`name` means something else in a selector"),
        ("members:\n  - name: a\n    labels: {tier: [1]}\n", "fleet.yaml:3:14: `labels.tier`: input should be a valid"),
        ("members:\n  a: {name: b}\n", "fleet.yaml:2:7: `name` stands before the colon already"),
        ("members:\n  a: 3\n", "fleet.yaml:2:3: `a`: must be a mapping"),
        ("members:\n  - {name: a, incus: {tagret: x}}\n", "unknown key `incus.tagret`"),
        ("members: [{name: a, count: 6000}, {name: b, count: 6000}]", "at most 10000 members; this one has 12000"),
        ("members: [{name: a, count: 2, ports: [80]}]", "a-2 and a-1 cannot both have port 80"),
        ("- a\n", "fleet.yaml:1:1: the top of the file must be a mapping"),
        ("members: [a", "fleet.yaml:1:12: expected"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, problem: str) -> None:
    error = refused(text)
    assert problem in f"{error.message}\n{error.cause}", error.message


def test_all_problems_are_told_at_once_and_each_once() -> None:
    error = refused("defaults: {cpus: none}\nmembers:\n  - {name: a, memry: 1}\n  - {name: b, disk: 1}\n")
    assert error.message == "the configuration has 3 problems"
    assert error.cause.count("cpus") == 1
    assert "fleet.yaml:3:15" in error.cause
    assert "`disk`" in error.cause


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"fleet\.yaml is not a file"):
        spec.load(None, {}, {})


def test_credentials_of_members_are_struck_out() -> None:
    from polis import redaction

    load("members: [{name: a, proxy: 'http://proxy:3128', env: {A: b}, bundle: 'https://me:open-sesame@x/y'}]\n")
    assert "open-sesame" not in redaction.redact("https://me:open-sesame@x/y")


# ---- one member by itself


def test_a_single_command_finds_a_member_in_the_fleets_file(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(WHOLE)
    alone = config.load({"name": "web-3"}, file=path, user_directory=tmp_path, environ={})
    assert alone == member(spec.load(path, {}, {}), "web-3").spec
    by_variable = config.load({}, file=path, user_directory=tmp_path, environ={"POLIS_NAME": "plain"})
    assert by_variable.name == "plain"


@pytest.mark.parametrize(("name", "words"), [(None, "configures a fleet"), ("web-4", "has no member web-4")])
def test_without_a_member_of_the_fleet_it_is_refused(tmp_path: Path, name: str | None, words: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(WHOLE)
    with pytest.raises(ConfigurationError, match=words) as caught:
        config.load({"name": name}, file=path, user_directory=tmp_path, environ={})
    assert "`-n`" in caught.value.hint


def test_a_spoilt_fleet_is_refused_for_one_member_as_well(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("members: [{name: a}, {name: a}]\n")
    with pytest.raises(ConfigurationError, match="already"):
        config.load({"name": "a"}, file=path, user_directory=tmp_path, environ={})


# ---- the editors' schema


@pytest.mark.parametrize("text", [WHOLE, "members:\n  gate:\n  web: {count: 2, cpus: 3}\n"])
def test_the_schema_accepts_what_the_loader_accepts(text: str) -> None:
    from polis import yamltext

    schema = config_schema.fleet()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(yamltext.load_plain(text, "fleet.yaml"))


@pytest.mark.parametrize("bad", [{}, {"members": [{"name": "a", "memry": 1}]}, {"members": ["a"], "more": 1}])
def test_the_schema_refuses_what_the_loader_refuses(bad: dict[str, Any]) -> None:
    assert not jsonschema.Draft202012Validator(config_schema.fleet()).is_valid(bad)
    refused(json.dumps(bad))


# ---- selectors


def chosen(text: str | None, phases: dict[str, str] | None = None) -> list[str]:
    fleet = load(WHOLE)
    found = selector.select(fleet.members, selector.parse(text), lambda name: (phases or {}).get(name, "absent"))
    return [each.name for each in found]


def test_a_selector_asks_for_names_labels_and_phases() -> None:
    assert chosen(None) == ["gate", "web-1", "web-2", "web-3", "plain"]
    assert chosen("name=web-[12]") == ["web-1", "web-2"]
    assert chosen("tier=front") == ["web-1", "web-2", "web-3"]
    assert chosen("tier=f*, name=*-3") == ["web-3"]
    assert chosen("phase=healthy", {"gate": "healthy"}) == ["gate"]
    assert chosen("tier=front,phase=absent", {"web-1": "healthy"}) == ["web-2", "web-3"]


@pytest.mark.parametrize("text", ["", "name", "=x", "name=a,,tier=b", "phase=wealthy"])
def test_a_selector_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--selector"):
        selector.parse(text)


def test_a_selector_that_nobody_fits_is_told() -> None:
    with pytest.raises(NotFound, match="no member of this fleet has tier=back"):
        chosen("tier=back")


def test_a_member_without_the_label_is_not_meant_by_any_pattern() -> None:
    assert "gate" not in chosen("tier=*")


def test_thousands_of_members_are_read_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they have alike is judged once, however many they are."""
    judged: list[object] = []
    real = config.resolve

    def resolve(layers: Any) -> Any:
        judged.append(layers)
        return real(layers)

    monkeypatch.setattr(config, "resolve", resolve)
    fleet = load(json.dumps({"members": [f"m-{number}" for number in range(500)]}))
    assert len(fleet.members) == 500
    assert len(judged) == 1
    assert config_fleet.LIMIT >= 5000
