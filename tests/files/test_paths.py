"""Paths as users write them."""

from collections.abc import Callable
from pathlib import Path

import pytest

import augrad
from augrad.data.npz import read_archive
from augrad.errors import PolicyFileError, UserError
from augrad.paths import expanded


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def test_the_home_folder_as_a_shell_has_it(home: Path):
    assert expanded("~") == home
    assert expanded("~/a b") == home / "a b"
    assert expanded(Path("~/a")) == home / "a"
    assert expanded("~root") != Path("~root")
    for literal in ("~nobody-of-that-name", "./~", "a/~", "$HOME/x", "~$document"):
        assert expanded(literal) == Path(literal)


@pytest.mark.parametrize("wrong", [3, 0.5, True, ["a"], {"a": 1}, None, b"bytes"])
def test_what_is_no_path_is_refused(wrong):
    with pytest.raises(UserError, match="expected a path"):
        expanded(wrong)


def test_policies_are_saved_to_the_home_folder_and_loaded_from_there(home: Path):
    policy = augrad.load_policy("identity")
    augrad.save_policy(policy, "~/p.json")
    assert [path.name for path in home.iterdir()] == ["p.json"]
    assert not list(Path().iterdir())
    assert augrad.load_policy("~/p.json").ops == policy.ops
    with pytest.raises(UserError, match="~/nowhere"):
        augrad.save_policy(policy, "~/nowhere/p.json")


READERS: dict[str, Callable[[str], object]] = {"policy": augrad.load_policy, "npz": read_archive}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("name", ["", ".", "nowhere", "x" * 300, "a\0b", "file/below", "loop", "caf\udce9", "[red]"])
def test_what_cannot_be_read_is_refused_in_words(home: Path, read: Callable[[str], object], name: str):
    Path("file").write_text("")
    Path("loop").symlink_to("loop")
    with pytest.raises(UserError):
        read(name)


def test_a_file_goes_before_a_built_in_policy_of_its_name(home: Path):
    Path("identity").write_text("{}")
    with pytest.raises(PolicyFileError, match=r"\[in identity\]"):
        augrad.load_policy("identity")
    Path("identity").unlink()
    Path("identity").symlink_to("nowhere")
    augrad.load_policy("identity")
