"""A policy as one HTML page: where it comes from, what it does to pictures, its sub-policies."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from augrad import ops
from augrad.atomic import write_text
from augrad.data.examples import Examples
from augrad.errors import UserError
from augrad.ops.definition import is_dotted
from augrad.ops.spec import Op
from augrad.policy import Policy
from augrad.policy_file import PolicyDocument
from augrad.show.about import counted, describe_shape
from augrad.show.examples import SHARP_UP_TO, Shown, examples_of_operation, examples_of_policy
from augrad.show.facts import NOTHING, facts_of
from augrad.show.page import rendered, visible_masses
from augrad.show.tracks import Track, levels_of, track_of
from augrad.show.words import Row, heaviest_rows, operation_masses, policy_rows, short_names

_MOST_OPEN, _MOST_ROWS, _MOST_ALONE, _MOST_TOGETHER = 25, 600, 40, 12
"""Sub-policies that are not folded away; rows of all; rows of a sub-policy that is alone, and of one among several."""
_MOST_EXAMPLES, _EACH_ON = 12, 2
"""Operations with pictures, and on how many pictures."""
_DRAWS = 7
_FIRST = ("paper", "source", "searched on", "created", "data", "seed", "metrics")
_ELSEWHERE = "config"
_MOST_FACTS, _LONGEST_FACT, _LONGEST_PROVENANCE = 60, 400, 20_000
_SHORT_FACT = 60
"""Characters: longer ones have a line of their own."""


@dataclass(frozen=True)
class _Group:
    """A sub-policy: its weight, its rows with their bars, and how many rows are left out."""

    weight: float
    rows: list[tuple[Row, Track | None]]
    left_out: int


@dataclass(frozen=True)
class _Example:
    """An operation on pictures: its name, its magnitude in words or in how many places of the policy it stands, how
    often an image meets it in a stage, the pictures, or else why there are none."""

    op: str
    words: str
    mass: float
    pictures: list[list[list[Shown]]]
    reason: str


def write_policy_page(
    path: str | os.PathLike[str],
    name: str,
    document: PolicyDocument,
    policy: Policy | None,
    pictures: Examples,
    everything: bool = False,
) -> None:
    """Write the page to `path`, atomically; the same policy and pictures give the same bytes.

    policy: what `document` describes; None where operations that it names may not be imported: then these have no
    pictures, and neither has the policy as a whole. everything: also the lightest sub-policies and operations.
    Raises UserError if the page cannot be written.
    """
    names = short_names(dict.fromkeys(["identity", *(entry.op for entry in document.entries())]))
    every = policy_rows(document)
    groups = _groups(document, every, everything)
    provenance = json.dumps(document.provenance, indent=2, ensure_ascii=False) if document.provenance else ""
    known = {key: document.provenance[key] for key in _FIRST if key in document.provenance}
    others = {key: value for key, value in document.provenance.items() if key not in (*_FIRST, _ELSEWHERE)}
    examples, without = _examples(document, every, policy, pictures)
    html = rendered(
        "policy.html.jinja",
        names,
        name=name,
        shape=describe_shape(document),
        facts=_facts({**known, **others}),
        masses=visible_masses(document),
        draws=examples_of_policy(policy, pictures.images, _DRAWS) if policy else [],
        no_draws="" if policy else _not_allowed([name for name in names if is_dotted(name)]),
        examples=examples,
        without_examples=without,
        pictures=_words_of(pictures),
        sharp=pictures.images.shape[-1] <= SHARP_UP_TO,
        groups=groups[:_MOST_OPEN],
        folded=groups[_MOST_OPEN:],
        left_out=len(document.subpolicies) - len(groups),
        several=len(document.subpolicies) > 1,
        staged=any(len(subpolicy.stages) > 1 for subpolicy in document.subpolicies),
        chosen=any(row.weight < 1 for row in every),
        drawn=any(len(line) > 3 for example in examples for rows in example.pictures for line in rows),
        provenance=provenance[:_LONGEST_PROVENANCE],
        cut=len(provenance) > _LONGEST_PROVENANCE,
    )
    write_text(path, html)


def _facts(provenance: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, value, and whether the value is long; of a provenance, in which a user may have written anything."""
    facts = []
    for key, value in islice(facts_of(provenance), _MOST_FACTS):
        name, text = (one if len(one) <= _LONGEST_FACT else one[:_LONGEST_FACT] + "…" for one in (key, value))
        if text.strip() not in ("", NOTHING):
            facts.append((name, text, len(text) > _SHORT_FACT))
    return facts


def _groups(document: PolicyDocument, every: Sequence[Row], everything: bool) -> list[_Group]:
    most = _MOST_ALONE if len(document.subpolicies) == 1 else _MOST_TOGETHER
    groups: list[_Group] = []
    count = 0
    for _, those in groupby(every, key=lambda row: row.subpolicy):
        rows, left_out = heaviest_rows(list(those), None if everything else most)
        count += len(rows)
        if groups and count > _MOST_ROWS and not everything:
            break
        with_tracks = [(row, track_of(row.entry, document.definitions)) for row in rows]
        groups.append(_Group(rows[0].subpolicy_weight, with_tracks, len(left_out)))
    return groups


def _examples(
    document: PolicyDocument, every: Sequence[Row], policy: Policy | None, pictures: Examples
) -> tuple[list[_Example], int]:
    """Of the operations that images meet most, and how many others there are."""
    masses = {op: mass for op, mass in operation_masses(document).items() if op != "identity" and mass > 0}
    rows: dict[str, list[Row]] = {}
    for row in every:
        rows.setdefault(row.op, []).append(row)
    made = {op.name: op for op in policy.ops} if policy else {}
    examples = []
    for name, mass in islice(masses.items(), _MOST_EXAMPLES):
        op = made.get(name) or (None if is_dotted(name) else ops.get(name))
        shown, reason = _pictures_of(op, rows[name], document, pictures)
        different = dict.fromkeys(row.magnitude for row in rows[name])
        words = next(iter(different)) if len(different) == 1 else f"in {len(rows[name])} places"
        examples.append(_Example(name, words, mass, shown, reason))
    return examples, len(masses) - len(examples)


def _pictures_of(
    op: Op | None, rows: Sequence[Row], document: PolicyDocument, pictures: Examples
) -> tuple[list[list[list[Shown]]], str]:
    """The pictures of the operation in these rows, or why there are none."""
    if op is None:
        return [], _not_allowed([rows[0].op])
    try:
        levels, resampling = levels_of(rows, document.definitions), (document.fill, document.interpolation)
        return examples_of_operation(op, levels, pictures.images, *resampling, _EACH_ON), ""
    except UserError as error:  # of a user's operation, which need not take every picture
        return [], f"No pictures: {error}."


def _not_allowed(names: Sequence[str]) -> str:
    modules = dict.fromkeys(name.rpartition(".")[0] for name in names)
    options = " ".join(f"--allow {module}" for module in modules)
    return (
        f"No pictures: {', '.join(names)} would run code from elsewhere, which is imported only where you allow it: "
        f"{options}."
    )


def _words_of(pictures: Examples) -> str:
    count, side = len(pictures.images), pictures.images.shape[-1]
    whose = pictures.credit or ", ".join(pictures.names)
    return f"{counted(count, 'picture')} of {side} × {side} pixels: {whose}."
