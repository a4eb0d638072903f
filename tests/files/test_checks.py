"""One check of values against annotations, for calls from Python and for configurations."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Annotated, Any, Literal, get_type_hints

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

import augrad
from augrad import UserError
from augrad.checks import PathName, Seed, check_value, checked, refused
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy, random_policy
from augrad.settings import ChoiceSettings, SearchSettings, TrainSettings

Pair = tuple[float | torch.Tensor, float | torch.Tensor]


@pytest.mark.parametrize(
    ("value", "annotation", "words"),
    [
        ("a", int, "a whole number, got 'a'"),
        (True, int, "a whole number, got True"),
        (np.float64(3.0), int, "a whole number, got 3.0"),
        (True, float, "a number, got True"),
        (np.bool_(True), float, "a number, got True"),
        (np.float32("inf"), float, "a finite number, got inf"),
        (1, bool, "true or false, got 1"),
        (2**64, Seed, f"less than {2**64}, got {2**64}"),
        (-1, Seed, "at least 0, got -1"),
        ("", PathName, "a name that is not empty, got ''"),
        (3, PathName, "text, got 3"),
        ("a", int | Sequence[str] | None, "a whole number or a list, got 'a'"),
        ("c", Literal["a", "b"], "'a' or 'b', got 'c'"),
        ("a", float | torch.Tensor, "a number, got 'a'"),
        (3, Pair, "a list of 2, got 3"),
        (3, Pair | None, "a list of 2, got 3"),
    ],
)
def test_what_does_not_fit_is_told(value: object, annotation: Any, words: str) -> None:
    with pytest.raises(UserError) as refusal:
        check_value(value, annotation, "place")
    assert str(refusal.value) == f"place: expected {words}"


@pytest.mark.parametrize(
    ("value", "annotation", "words"),
    [
        (["a", "c"], Sequence[Literal["a", "b"]], "place[1]: expected 'a' or 'b', got 'c'"),
        ([0.9, "b"], Pair, "place[1]: expected a number, got 'b'"),
        ([0.9], Pair, "place[1]: expected one more number, got [0.9]"),
    ],
)
def test_an_item_is_told_by_its_number(value: object, annotation: Any, words: str) -> None:
    with pytest.raises(UserError) as refusal:
        check_value(value, annotation, "place")
    assert str(refusal.value) == words


@pytest.mark.parametrize(
    ("value", "annotation", "plain"),
    [
        (np.int64(3), int, 3),
        (np.int8(3), float, 3),
        (np.float32(0.5), float, 0.5),
        (Fraction(1, 4), float, 0.25),
        (np.bool_(True), bool, True),
        ([np.float32(0.5), 1], Pair, [0.5, 1]),
        ([1, 2], Pair | None, [1, 2]),
        ((1, 2), Sequence[int], (1, 2)),
        (None, int | None, None),
    ],
)
def test_numbers_of_others_become_pythons(value: object, annotation: Any, plain: object) -> None:
    found = check_value(value, annotation, "place")
    assert found == plain
    assert type(found) is type(plain)


class Document(BaseModel):
    """A schema of somebody else's."""

    model_config = ConfigDict(extra="forbid")
    version: int
    share: Annotated[float, Field(gt=0)] = 0.5
    name: str = "a"

    @field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if len(name) > 1:
            raise ValueError("one letter")
        return name


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"version": "old"}, "place.version: expected a whole number, got 'old'"),
        ({"version": 1, "share": 0}, "place.share: expected more than 0, got 0"),
        ({}, "place.version: expected a value, got none"),
        ({"version": 1, "size": 2}, "place.size: Extra inputs are not permitted, got 2"),
        ({"version": 1, "name": "ab"}, "place.name: Value error, one letter, got 'ab'"),
        (
            {"version": None, "name": 3},
            "place.version: expected a whole number, got None\nplace.name: expected text, got 3",
        ),
    ],
)
def test_what_pydantic_refuses_is_told_in_the_same_words_or_in_its_own(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Document(**values)
    assert str(refused(refusal.value, "place")) == words
    assert str(refused(refusal.value)) == words.replace("place.", "")


@pytest.mark.parametrize("true", [True, np.True_])
def test_true_is_no_number_in_any_setting(true: object) -> None:
    """Python's true and NumPy's; a number of NumPy's is one."""
    for kind in (SearchSettings, TrainSettings):
        hints = {name: str(hint) for name, hint in get_type_hints(kind).items()}
        numbers = {name: hint for name, hint in hints.items() if "int" in hint or "float" in hint}
        assert {"batch_size", "final_rate", "clip_norm"} <= set(numbers)
        for name, hint in numbers.items():
            with pytest.raises(UserError, match=rf"^{name}\b.*: expected a (whole )?number( or 'auto')?, got"):
                kind(**{name: {"op_logits": true} if "dict" in hint else true})
    assert SearchSettings(steps=np.int64(3), policy_rates={"op_logits": np.float32(0.5)}).steps == 3  # type: ignore[arg-type,dict-item]


@checked
@dataclass(frozen=True)
class Settings:
    count: int
    share: float = 0.5


@checked
def doubled(count: int, *, named: str | None = None, anything: object = None) -> int:
    return 2 * count


def test_functions_and_classes_check_their_arguments() -> None:
    assert Settings(np.int64(3), share=np.float32(0.25)) == Settings(3, 0.25)  # type: ignore[arg-type]
    assert replace(Settings(3), count=4).count == 4
    assert doubled(2, named="a", anything=[1]) == 4
    for misfit in (lambda: Settings("a"), lambda: replace(Settings(3), count=1.5), lambda: doubled(count=True)):  # type: ignore[arg-type]
        with pytest.raises(UserError, match=r"^count: expected a whole number, got"):
            misfit()
    with pytest.raises(UserError, match=r"^named: expected text, got 3"):
        doubled(2, named=3)  # type: ignore[arg-type]
    for wrong in (lambda: doubled(), lambda: doubled(1, more=2), lambda: Settings(1, 2.0, 3)):  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"(doubled|__init__)\(\)"):  # as Python says it
            wrong()


def test_policies_of_numpy_numbers_are_files_as_well(tmp_path) -> None:
    ranges = {"rotate": {"low": np.int64(0), "high": np.float32(20)}, "cutout": {"high": np.float64(0.25)}}
    policy = initial_policy(
        make_space(ranges, fill=0.5),
        stages=np.int64(2),
        probability=np.float32(0.5),
        level=np.float64(0.25),
        seed=np.uint8(3),
    )
    same = initial_policy(
        make_space({"rotate": {"high": 20.0}, "cutout": {"high": 0.25}}, fill=0.5), 1, 2, 0.5, level=0.25, seed=3
    )
    texts = []
    for name, made in (("numpy", policy), ("python", same)):
        augrad.save_policy(made, tmp_path / name)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    for misfit in ("a", 1.5, True, 2**70, -1):
        with pytest.raises(UserError, match=r"^seed: expected"):
            random_policy(policy, misfit)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="expected finite numbers"):
        make_space({"rotate": {"high": np.bool_(True)}})


def test_an_empty_name_is_no_policy_and_no_place_for_one() -> None:
    with pytest.raises(UserError, match=r"^expected a policy file, got an empty name; give a path, or a built-in"):
        augrad.load_policy("")
    with pytest.raises(UserError, match=r"^expected a path, got an empty name"):
        augrad.save_policy(augrad.load_policy("identity"), "")


@pytest.mark.parametrize("kind", [SearchSettings, TrainSettings, ChoiceSettings])
def test_what_help_shows_of_settings_is_readable(kind: type) -> None:
    shown = str(inspect.signature(kind))
    assert "Annotated" not in shown
    assert "FieldInfo" not in shown
    assert set(inspect.signature(kind).parameters) == {field.name for field in fields(kind)}
