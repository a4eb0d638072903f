"""Refusals are short and soon there: documents that the corpus of damaged ones found, see test_corpus.py."""

import json
from typing import Any

import pytest

from augrad import PolicyFileError
from augrad.policy_file import magnitude, parse, parse_policy, refusals
from augrad.policy_file.convert import policy_from_document
from odd_policies import document, one

FACE = "\U0001f600"  # twelve characters in JSON
NESTED = [
    "".join(f'{{"{FACE * 60}{depth}": ' for depth in range(50)) + "NaN" + "}" * 50,
    "".join(f'{{"{"k" * 40}": [' for _ in range(25)) + "1e999" + "]}" * 25,
    f'{{"{FACE * 40}": {{"{FACE * 30}": {{"{FACE * 20}": {{"x": {{"a": 1, "a": 1}}}}}}}}}}',
]


@pytest.mark.parametrize("provenance", NESTED)
def test_a_place_deep_in_provenance_is_its_first_and_last_steps(provenance: str) -> None:
    text = json.dumps({**one([{"op": "invert"}]), "provenance": 0})
    with pytest.raises(PolicyFileError, match=r"^provenance.*\.\.\..*: expected ") as caught:
        parse_policy(text.replace('"provenance": 0', f'"provenance": {provenance}'))
    assert len(str(caught.value)) < 400


def refused(data: dict[str, Any]) -> str:
    with pytest.raises(PolicyFileError, match="expected ") as caught:
        policy_from_document(parse_policy(json.dumps(data)))
    return str(caught.value)


def test_no_message_is_as_long_as_what_came() -> None:
    long, wide, plain = "x" * 100_000, FACE * 100, one([{"op": "invert"}])
    ranged = {"low": 0, "high": 1, "unit": "factor"}
    for data in (
        {**plain, "definitions": {"a.b": {"surrogate": long}}},
        {**plain, "definitions": {"a.b": {**ranged, "surrogate": long}}},
        {**plain, "definitions": {"a.b": {"parameter": long}}},
        {**plain, "format": wide},
        {**plain, wide: 1},
        one([{"op": wide}]),
        one([{"op": "invert", wide: 1}]),
    ):
        assert len(refused(data)) < 500


def test_a_file_of_many_modules_is_refused_without_naming_them_all() -> None:
    names = [f"{'a' * 180}{index}.b" for index in range(256)]
    entries = [{"op": name, "weight": 1 / 256} for name in names]
    message = refused(document([{"weight": 1, "stages": [entries]}], definitions={name: {} for name in names}))
    assert "; if you trust their code, allow=[...] with the 256 modules, or policy.allow=[...] on the" in message
    assert len(message) < 500


def test_what_is_only_counted_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """The closest name was looked for in each of 10,000 sub-policies, and for each of a million unknown keys."""
    asked: list[str] = []
    for module in (refusals, magnitude, parse):
        monkeypatch.setattr(module, "suggestion", lambda name, known: asked.append(name) or "")
    assert refused(document([{"wieght": 1}] * 1000)).endswith("(and 999 more problems)")
    assert refused(document([{"weight": 1, "stages": [[{"op": "rotat"}]]}] * 1000)).endswith("(and 999 more problems)")
    assert len(asked) == 2
    assert "is this a policy file of augrad" in refused({str(index): 0 for index in range(1000)})
    assert len(asked) <= 102
