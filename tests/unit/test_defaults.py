"""What is wanted where nothing is configured: the same with and without the models, and only then without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polis import config, defaults
from polis.defaults import Defaults, unconfigured


def plain(tmp_path: Path, flags: dict[str, Any] | None = None, file: Path | None = None, **environ: str) -> Any:
    return unconfigured(flags or {}, file=file, user_directory=tmp_path / "none", environ=environ)


@pytest.mark.parametrize("key", config.Spec.model_fields)
def test_a_default_is_that_of_the_whole_spec(key: str) -> None:
    whole = config.Spec.model_validate({"name": "other", "driver": "qemu"})
    light, full = getattr(Defaults("other", "qemu"), key), getattr(whole, key)
    if key == "retry":
        assert full.model_dump() == vars(light)
    else:
        assert light == full


def test_methods_of_a_spec_are_there_too() -> None:
    assert Defaults("other").model_dump()["name"] == "other"


@pytest.mark.parametrize("flags", [{}, {"name": "other"}, {"driver": "qemu"}, {"name": None, "agent": None}])
def test_name_and_driver_need_no_model(tmp_path: Path, flags: dict[str, Any]) -> None:
    found = plain(tmp_path, flags)
    assert isinstance(found, Defaults)
    assert (found.name, found.driver) == (flags.get("name") or "polis", flags.get("driver"))


@pytest.mark.parametrize(
    "flags",
    [{"name": "a_b"}, {"name": "x" * 64}, {"name": "ok\n"}, {"name": ""}, {"driver": "other"}, {"version": "v1"}],
)
def test_whatever_has_to_be_judged_goes_to_the_models(tmp_path: Path, flags: dict[str, Any]) -> None:
    assert plain(tmp_path, flags) is None


def test_so_do_files_and_variables(tmp_path: Path) -> None:
    file = tmp_path / "polis.yaml"
    file.write_text("cpus: 2\n", encoding="utf-8")
    assert plain(tmp_path) is None, "the working directory has one"
    file.unlink()
    assert plain(tmp_path, POLIS_CPUS="2") is None
    assert plain(tmp_path, POLIS_HOME="/somewhere") is not None
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "polis.yaml").write_text("", encoding="utf-8")
    assert plain(tmp_path) is None, "the user's directory has one"


def test_every_driver_that_is_known_here_is_known_to_the_models() -> None:
    for driver in defaults.DRIVERS:
        assert config.Spec.model_validate({"driver": driver}).driver == driver
