"""What makes a release: its list of files, its signature, its parts, and the single file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from release import inventory, lockfile, packages, platforms, sbom, signing, singlefile, tree
from release.errors import ReleaseError

FILES = {"polis_vm-1-py3-none-any.whl": b"wheel", "polis-1-linux-x86_64.pyz": b"program", "cloud-init.yaml": b"#cloud"}
PROGRAM = "import sys\ndef main():\n    import part\n    print(part.WORD, *sys.argv[1:])\n"


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A directory of files with their list and its signature; `key.pub` beside it has the public key."""
    directory = tmp_path / "dist"
    directory.mkdir()
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    inventory.write(directory)
    private, public = signing.generate()
    signing.sign(directory, {signing.VARIABLE: private})
    (tmp_path / "key.pub").write_text(public)
    return directory


def verify(directory: Path) -> tuple[str, ...]:
    signing.verify(directory, (directory.parent / "key.pub").read_text())
    return inventory.verify(directory)


def test_what_was_released_is_recognised(released: Path) -> None:
    assert verify(released) == tuple(sorted(FILES))


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_changed_file_is_told(released: Path, name: str) -> None:
    content = bytearray((released / name).read_bytes())
    content[0] ^= 1
    (released / name).write_bytes(content)
    with pytest.raises(ReleaseError, match=f"{name} is not what was released"):
        verify(released)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_told(released: Path, name: str) -> None:
    (released / name).unlink()
    with pytest.raises(ReleaseError, match=f"{name} is missing"):
        verify(released)


def test_a_file_that_nobody_listed_is_told(released: Path) -> None:
    (released / "more.whl").write_bytes(b"")
    with pytest.raises(ReleaseError, match=r"more\.whl is in no list"):
        verify(released)


def test_a_list_that_was_changed_with_its_file_is_told(released: Path) -> None:
    (released / "cloud-init.yaml").write_bytes(b"#evil")
    inventory.write(released)
    inventory.verify(released)
    with pytest.raises(ReleaseError, match="was not signed by this key"):
        verify(released)


@pytest.mark.parametrize("content", [b"", b"AAAA", b"not base64"])
def test_a_signature_that_is_none_is_told(released: Path, content: bytes) -> None:
    (released / inventory.SIGNATURE).write_bytes(content)
    with pytest.raises(ReleaseError, match="was not signed by this key"):
        verify(released)


def test_another_s_signature_and_none_at_all_are_told(released: Path) -> None:
    other, _ = signing.generate()
    signing.sign(released, {signing.VARIABLE: other})
    with pytest.raises(ReleaseError, match="was not signed by this key"):
        verify(released)
    (released / inventory.SIGNATURE).unlink()
    with pytest.raises(ReleaseError, match="is missing"):
        verify(released)


@pytest.mark.parametrize("line", ["../x", "a b", f"{'0' * 64}  ../../etc/passwd", f"{'0' * 63}  x"])
def test_a_line_that_is_none_is_refused(released: Path, line: str) -> None:
    (released / inventory.SUMS).write_text(line + "\n")
    with pytest.raises(ReleaseError, match="no line of sha256sum"):
        inventory.verify(released)


@pytest.mark.parametrize(("key", "words"), [("", "is not set"), ("AAAA", "no Ed25519 key"), ("%", "no Ed25519 key")])
def test_nothing_is_signed_without_a_key_and_the_key_is_not_told(released: Path, key: str, words: str) -> None:
    with pytest.raises(ReleaseError, match=words) as caught:
        signing.sign(released, {signing.VARIABLE: key})
    assert not key or key not in str(caught.value).replace(signing.VARIABLE, "")


def test_the_lock_names_every_requirement_of_the_project_and_no_test_tool() -> None:
    names = {each.name.lower() for each in lockfile.read()}
    assert {"typer", "pydantic", "cryptography", "rich", "filelock"} <= names
    assert not {"pytest", "mypy", "ruff", "hatchling"} & names


@pytest.mark.parametrize("line", ["typer>=1 --hash=sha256:" + "0" * 64, "typer==1", "typer==1 --hash=sha256:00"])
def test_a_requirement_that_is_not_locked_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "runtime.lock").write_text(f"{line}\n")
    with pytest.raises(ReleaseError, match="no exact version, or no hash"):
        lockfile.read(tmp_path / "runtime.lock")


def test_the_list_of_parts_has_each_with_its_hashes_and_is_always_the_same() -> None:
    text = sbom.text(epoch=1_700_000_000)
    assert text == sbom.text(epoch=1_700_000_000)
    document = json.loads(text)
    assert document["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert len(document["components"]) == len(lockfile.read())
    for part in document["components"]:
        assert part["purl"].startswith("pkg:pypi/")
        assert part["externalReferences"][0]["hashes"]
    assert document["dependencies"][0]["dependsOn"] == [part["bom-ref"] for part in document["components"]]


def a_wheel(directory: Path, name: str, **files: str) -> Path:
    path = directory / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for member, content in {**files, f"{name}-1.dist-info/RECORD": name}.items():
            file.writestr(member, content)
    return path


def wheels(directory: Path) -> list[Path]:
    return [
        a_wheel(directory, "polis", **{"polis/__init__.py": "", "polis/__main__.py": PROGRAM}),
        a_wheel(directory, "part", **{"part.py": "WORD = 'hello'\n"}),
    ]


def a_single_file(directory: Path, platform: platforms.Platform | None = None) -> Path:
    target = directory / "polis.pyz"
    singlefile.build(target, wheels=wheels(directory), platform=platform or platforms.here())
    return target


def run(file: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "POLIS_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-I", file, *words], env=environ, capture_output=True, text=True, check=False
    )


def test_the_same_wheels_give_the_same_bytes(tmp_path: Path) -> None:
    first = a_single_file(tmp_path).read_bytes()
    os.utime(tmp_path / "part-1-py3-none-any.whl", (0, 0))
    assert a_single_file(tmp_path).read_bytes() == first


def test_two_wheels_with_different_files_of_one_name_are_refused(tmp_path: Path) -> None:
    both = [a_wheel(tmp_path, "one", **{"same.py": "1"}), a_wheel(tmp_path, "two", **{"same.py": "2"})]
    with pytest.raises(ReleaseError, match=r"same\.py differs"):
        singlefile.merged(both)


@pytest.mark.processes
def test_a_single_file_unpacks_once_and_runs(tmp_path: Path) -> None:
    file = a_single_file(tmp_path)
    first = run(file, tmp_path / "home", "a", "b")
    assert (first.returncode, first.stdout) == (0, "hello a b\n"), first.stderr
    (place,) = (tmp_path / "home" / "cache" / "app").iterdir()
    (place / "part.py").write_text("WORD = 'kept'\n")
    assert run(file, tmp_path / "home").stdout == "kept\n"


@pytest.mark.processes
def test_a_single_file_that_was_tampered_with_runs_nothing(tmp_path: Path) -> None:
    file = a_single_file(tmp_path)
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["polis.zip"] = content["polis.zip"].replace(b"part.py", b"evil.py")
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    done = run(file, tmp_path / "home")
    assert done.returncode == 77
    assert "the sha256 of its content differs" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "home").rglob("*.py"))


@pytest.mark.processes
def test_a_single_file_for_another_platform_says_so(tmp_path: Path) -> None:
    other = next(each for each in platforms.PLATFORMS.values() if each != platforms.here())
    done = run(a_single_file(tmp_path, other), tmp_path / "home")
    assert done.returncode == 69
    assert f"it was built for {other.name}" in done.stderr


@pytest.mark.processes
@pytest.mark.skipif(os.name != "posix", reason="modes are a thing of POSIX")
def test_what_others_may_write_is_not_run(tmp_path: Path) -> None:
    file = a_single_file(tmp_path)
    run(file, tmp_path / "home")
    (place,) = (tmp_path / "home" / "cache" / "app").iterdir()
    (place / "part.py").write_text("WORD = 'evil'\n")
    place.chmod(0o777)
    assert run(file, tmp_path / "home").stdout == "hello\n"


@pytest.mark.processes  # git says what is in the tree
def test_a_wheel_that_lacks_a_file_or_has_one_too_many_is_refused(tmp_path: Path) -> None:
    tracked = [path for path in tree.tracked() if path.startswith("polis/")]
    folder = f"polis_vm-{tree.version()}.dist-info"
    for changed, words in ((tracked[1:], "lacks"), ([*tracked, "tests/evil.py"], "holds what does not belong there")):
        path = tmp_path / "polis.whl"
        with zipfile.ZipFile(path, "w") as file:
            for name in changed:
                file.writestr(name, (tree.ROOT / name).read_bytes() if name in tracked else b"")
            for name in packages.METADATA:
                file.writestr(f"{folder}/{name}", "")
        with pytest.raises(ReleaseError, match=words):
            packages.check_wheel(path)
