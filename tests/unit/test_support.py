"""`polis support-bundle`: what is in it, that it always comes about, and that no secret is in it."""

from __future__ import annotations

import base64
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polis import assembly, paths, redaction, scrubbing, support
from polis.agents import choice
from polis.doctor import examination
from polis.errors import UsageError
from polis.vault import Vault
from tests.simulated import SimulatedDriver
from tests.typed import run

AGENT_KEY = 'sk-live-"qu\u00f6ted"\\and-backslash-0123456789'
ENV_KEY = "envvalue-abcdefgh"
FILED_KEY = "filed-value-12345"
TYPED_KEY = "from-the-environment-99"
PROXY = "proxy-pass-word"
SSH_KEY = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"
UNKNOWN = "nobody-told-polis-of-this"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedDriver:
    driver = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    monkeypatch.setattr(examination, "examine", lambda *_: [])  # it looks at the real network
    monkeypatch.setattr(redaction, "_hidden", set())
    return driver


def type_(line: str) -> Any:
    return run(line.split())


def members(file: Path) -> dict[str, str]:
    with tarfile.open(file) as archive:
        found = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name.partition("/")[2]: part.read().decode() for name, part in found.items() if part is not None}


def manifest(file: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(members(file)["manifest.json"])
    return value


def secrets_of_the_host() -> list[str]:
    """Return every secret line that the workspace's own keys consist of."""
    kept = Vault(paths.find().secrets("polis")).read()
    assert kept is not None
    pairs = [kept.authority, *kept.leaves.values()]
    keys = [line for pair in pairs for line in pair.key.splitlines() if not line.startswith("-----")]
    return [*kept.passwords.values(), *keys]


def plant(driver: SimulatedDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put every secret into every source; return all of them."""
    (tmp_path / "keys.env").write_text(f"FILED={FILED_KEY}\n")
    (tmp_path / "polis.yaml").write_text(
        f"env: {{PLAIN: {ENV_KEY}}}\nenv_file: keys.env\nproxy: http://proxy.example:3128\n"
    )
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PROXY}@proxy.example:3128")
    monkeypatch.setenv("SOME_API_KEY", TYPED_KEY)
    assert type_("up").exit_code == 0
    choice.save(paths.find().secrets("polis"), choice.Kept(None, {"probe": {"PROBE_KEY": AGENT_KEY}}))
    machine = paths.find().data / "qemu" / "polis"
    machine.mkdir(parents=True)
    (machine / "id").write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SSH_KEY}\n-----END OPENSSH PRIVATE KEY-----\n")
    found = [AGENT_KEY, ENV_KEY, FILED_KEY, TYPED_KEY, PROXY, SSH_KEY, *secrets_of_the_host()]
    redaction._hidden.clear()  # as in a process that has not read them
    unlisted = [
        f"API_TOKEN={UNKNOWN}",
        f"https://me:{UNKNOWN}@example.org/",
        f"Authorization: Bearer {UNKNOWN}",
        f'{{"password": "{UNKNOWN}"}}',
        f"-----BEGIN RSA PRIVATE KEY-----\n{UNKNOWN}\n-----END RSA PRIVATE KEY-----",
    ]
    lines = [
        *unlisted,
        *found,
        *(json.dumps({"said": secret}) for secret in found),
        *(base64.b64encode(secret.encode()).decode() for secret in found),
    ]
    driver.printed = dict.fromkeys(("services", "guest", "cloud-init", "cloud-init-detail", "containers"), lines)
    driver.console = tmp_path / "console.log"
    driver.console.write_text("\n".join(lines))
    driver.failing = {"aslr": found[0]}
    directory = paths.find().workspace("polis")
    for name in ("journal.jsonl", "polis.log"):
        with (directory / name).open("a") as file:
            file.writelines(f"{json.dumps({'event': 'warning', 'message': line})}\n{line}\n" for line in lines)
    (directory / "polis.log.1").write_text("\n".join(lines))
    return [*found, UNKNOWN]


def test_no_secret_that_is_in_any_source_is_in_any_part(
    driver: SimulatedDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = plant(driver, tmp_path, monkeypatch)
    file = tmp_path / "out.tar.gz"
    result = type_(f"support-bundle {file}")
    assert result.exit_code == 0, result.output
    found = members(file)
    assert set(manifest(file)["parts"]) == set(found) - {"manifest.json"}
    assert manifest(file)["omitted"] == {}
    assert len(found) == 17
    for name, text in found.items():
        for secret in secrets:
            told = (secret, json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode().rstrip("="))
            assert not [each for each in told if each in text], (name, secret)
    for name in ("polis.log", "journal.jsonl", "console.log", "guest/services.log", "guest/journal.log"):
        assert found[name].count(redaction.STRUCK) > 20, name
    assert redaction.STRUCK in found["status.json"]
    assert redaction.STRUCK in found["configuration.json"]
    assert "proxy.example" in found["configuration.json"]


def test_it_tells_what_is_in_it_and_asks_to_look_at_it(driver: SimulatedDriver, tmp_path: Path) -> None:
    type_("up")
    lines = type_("support-bundle b.tar.gz").stdout.splitlines()
    assert lines[0].startswith("b.tar.gz: ")
    assert any(line.strip().startswith("status.json ") for line in lines)
    assert any("console.log" in line and "not in it: the simulated driver keeps no console" in line for line in lines)
    assert "Look at it before you send it" in lines[-1]
    versions = json.loads(members(tmp_path / "b.tar.gz")["versions.json"])
    assert versions["libraries"]["typer"]
    assert all(
        json.loads(text) for name, text in members(tmp_path / "b.tar.gz").items() if name.endswith("status.json")
    )


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_only_its_owner_can_read_it(driver: SimulatedDriver, tmp_path: Path) -> None:
    type_("support-bundle b.tar.gz")
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600


def test_scripts_get_one_document(driver: SimulatedDriver, tmp_path: Path) -> None:
    document = json.loads(type_("support-bundle b.tar.gz --json").stdout)
    assert (document["schema"], document["workspace"], document["file"]) == (1, "polis", "b.tar.gz")
    assert document["size"] == (tmp_path / "b.tar.gz").stat().st_size
    assert {part["name"] for part in document["parts"]} >= {"versions.json", "configuration.json"}
    assert all(part["reason"] for part in document["omitted"])


def test_a_file_that_is_there_is_not_overwritten(driver: SimulatedDriver, tmp_path: Path) -> None:
    (tmp_path / "b.tar.gz").write_text("mine")
    result = type_("support-bundle b.tar.gz")
    assert (result.exit_code, "is there already" in result.stderr) == (2, True)
    assert (tmp_path / "b.tar.gz").read_text() == "mine"
    assert type_("support-bundle nowhere/b.tar.gz").exit_code == 69


def test_without_a_workspace_there_is_still_a_bundle_and_nothing_else(driver: SimulatedDriver, tmp_path: Path) -> None:
    assert type_("support-bundle b.tar.gz").exit_code == 0
    omitted = manifest(tmp_path / "b.tar.gz")["omitted"]
    assert omitted["record.json"] == "there is none"
    assert "has no VM" in omitted["guest/journal.log"]
    assert not paths.find().workspaces.exists()


def test_a_configuration_that_cannot_be_read_is_what_is_reported(driver: SimulatedDriver, tmp_path: Path) -> None:
    (tmp_path / "polis.yaml").write_text("cpus: many\n")
    assert type_("support-bundle b.tar.gz").exit_code == 0
    told = manifest(tmp_path / "b.tar.gz")
    assert "cpus" in told["omitted"]["configuration.json"]
    assert "versions.json" in told["parts"]
    assert type_("support-bundle c.tar.gz -n ../../etc").exit_code == 2
    assert not (tmp_path / "c.tar.gz").exists()


def test_nothing_is_taken_from_a_vm_that_is_somebody_else_s(driver: SimulatedDriver, tmp_path: Path) -> None:
    type_("up --to launched")
    driver.printed = {"guest": ["private"]}
    driver.console = tmp_path / "console.log"
    driver.console.write_text("private")
    with driver.change() as machine:
        machine["owner"] = "somebody-else"
    assert type_("support-bundle b.tar.gz").exit_code == 0
    assert "private" not in "".join(members(tmp_path / "b.tar.gz").values())
    omitted = manifest(tmp_path / "b.tar.gz")["omitted"]
    for part in ("console.log", "guest/journal.log", "guest/services.log", "guest/containers.txt"):
        assert "this workspace did not create it" in omitted[part]


@pytest.mark.parametrize("is_configured", [True, False])
def test_a_record_that_cannot_be_read_is_what_is_reported(
    driver: SimulatedDriver, tmp_path: Path, is_configured: bool
) -> None:
    if is_configured:
        (tmp_path / "polis.yaml").write_text("name: mine\n")
    name = "mine" if is_configured else "polis"
    (paths.find().workspace(name) / "state.json").mkdir(parents=True)
    assert type_("support-bundle b.tar.gz").exit_code == 0
    told = manifest(tmp_path / "b.tar.gz")
    assert told["workspace"] == name
    assert "state.json" in told["omitted"]["status.json"]
    assert "record.json" in told["omitted"]
    assert "versions.json" in told["parts"]


def test_documents_stay_documents_whatever_is_hidden(driver: SimulatedDriver, tmp_path: Path) -> None:
    (tmp_path / "polis.yaml").write_text("env: {FIGURE: 8589934592, WORD: 'schema'}\n")
    type_("up --to launched")
    odd = "a\u2028b\u0085c"
    entry = {
        "event": "warning",
        "message": odd,
        "token": 12345678,
        "figure": 8589934592,
        "said": "8589934592 password=x1y2z3",
    }
    with (paths.find().workspace("polis") / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    assert type_("support-bundle b.tar.gz").exit_code == 0
    found = members(tmp_path / "b.tar.gz")
    documents = {name: json.loads(text) for name, text in found.items() if name.endswith(".json")}
    assert documents["configuration.json"]["memory"] == 8589934592
    struck = redaction.STRUCK
    assert json.loads(found["journal.jsonl"].split("\n")[-2]) == {
        "event": "warning",
        "message": odd,
        "token": struck,
        "figure": 8589934592,
        "said": f"{struck} password={struck}",
    }


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_value_is_known_in_base64_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, before: str, encode: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(redaction, "_hidden", set())
    value = "k\u00fc?>~\u00ff-long-enough"  # with characters in which the alphabets differ
    scrubbing.hide_all([value])
    whole = encode(f"{before}{value} and more".encode()).decode()
    told = scrubbing.scrubbed(whole)
    assert told.count(redaction.STRUCK) == 1
    struck_out = len(whole) - len(told.replace(redaction.STRUCK, ""))
    assert struck_out >= len(value.encode()) * 4 // 3 - 2, "all but the characters that its neighbours have a part in"


def test_private_keys_are_found_in_one_pass_however_many_begin() -> None:
    begin, end = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
    struck = redaction.STRUCK
    assert scrubbing.scrubbed(f"a {begin}\nx | SEC\n{end} b") == f"a {struck} b"
    assert scrubbing.scrubbed(f"a {begin}\nMIIE\nSEC= | b") == f"a {struck}| b"
    assert scrubbing.scrubbed(f"{begin} | A {begin} | B {end} c {end}") == f"{struck} c {end}"
    far = "." * scrubbing.PEM_LIMIT
    assert scrubbing.scrubbed(f"{begin}{far}{end}") == f"{struck}{far}{end}"
    # Looking for an end from each beginning would take a minute here.
    assert scrubbing.scrubbed(f"{begin}|\n" * 70_000) == f"{struck}|\n" * 70_000


def failing(problem: BaseException) -> Callable[[], str]:
    def read() -> str:
        raise problem

    return read


def test_a_part_that_breaks_does_not_break_the_others(tmp_path: Path) -> None:
    found = {
        "a": failing(ZeroDivisionError("odd token=abcdefgh")),
        "b": lambda: "there",
        "c": lambda: "x\n" * support.PART_LIMIT,
    }
    done = support.write(tmp_path / "b.tar.gz", found, {})
    assert done.omitted == {"a": "ZeroDivisionError: odd token=[redacted]"}
    assert members(tmp_path / "b.tar.gz")["b"] == "there"
    assert done.parts["c"] <= support.PART_LIMIT


def test_an_interruption_leaves_no_half_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        support.write(tmp_path / "b.tar.gz", {"a": failing(KeyboardInterrupt())}, {})
    assert not list(tmp_path.iterdir())
    (tmp_path / "b.tar.gz").touch()
    with pytest.raises(UsageError):
        support.write(tmp_path / "b.tar.gz", {}, {})


def test_of_a_damaged_file_of_secrets_every_word_is_struck_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_hidden", set())
    (tmp_path / "keys.json").write_text('{"passwords": {"gate": "torn-password-1')
    scrubbing.hide_files(tmp_path)
    assert scrubbing.scrubbed("it is torn-password-1") == f"it is {redaction.STRUCK}"


def test_names_and_dates_beside_the_secrets_stay_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_hidden", set())
    choice.save(tmp_path, choice.Kept("beacon", {"beacon": {"BEACON_KEY": "secret-value"}}))
    scrubbing.hide_files(tmp_path)
    assert scrubbing.scrubbed("beacon has BEACON_KEY") == "beacon has BEACON_KEY"
    assert "secret-value" not in scrubbing.scrubbed("beacon has secret-value")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PASSWORD=abcdefgh next", "PASSWORD=[redacted] next"),
        ('"api_key": "abcdefgh", "b": 1', '"api_key": "[redacted]", "b": 1'),
        ("secrets_kept: 123456", "secrets_kept: 123456"),
        ("http://proxy.example:3128/a@b", "http://[redacted]@b"),  # as well `proxy.example` with the password `3128/a`
        ("http://proxy.example:3128/a b@c", "http://proxy.example:3128/a b@c"),
        ("ftp://u:p@h", "ftp://[redacted]@h"),
        ("get https://TOKEN@h/x: refused", "get https://[redacted]@h/x: refused"),
        ("'https://u:p@ss/w@h/x' not found", "'https://[redacted]@h/x' not found"),
        ("https://h/x?X-Amz-Signature=abc&sig=d is gone", "https://h/x?[redacted] is gone"),
        ("token: null", "token: null"),
    ],
)
def test_what_looks_like_a_secret_is_one(text: str, expected: str) -> None:
    assert scrubbing.scrubbed(text) == expected
