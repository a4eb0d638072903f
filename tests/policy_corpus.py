"""Thousands of policy files with something wrong, and what reading them does.

`python tests/policy_corpus.py PART FOLDER` prints the report as JSON; `tests/policy_file/test_corpus.py` runs it.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import torch

import augrad
from augrad import PolicyFileError
from augrad.policy_file import format_policy, parse_policy
from augrad.policy_file.convert import builtin_policies, document_of, load_policy, policy_from_document, read_document
from mutations import at_every_place, changed, damaged
from odd_policies import ODD, document, policy_of
from watched import Watch, run

GOLDEN = Path(__file__).parent / "policy_file" / "golden"
LARGEST = 16 * 2**20
Documents = Iterator[tuple[str, bytes]]


def bases() -> dict[str, Any]:
    """Documents that are accepted, except those of hundreds of sub-policies."""
    named = {path.stem: json.loads(path.read_bytes()) for path in sorted(GOLDEN.glob("*.json"))}
    learned = {name: json.loads(format_policy(document_of(policy_of(one)))) for name, one in ODD.items()}
    builtin = {name: json.loads(format_policy(read_document(name))) for name in builtin_policies()}
    return {name: one for name, one in (named | learned | builtin).items() if len(one["subpolicies"]) < 100}


def _every_place(name: str) -> Documents:
    for index, text in enumerate(at_every_place(bases()[name])):
        yield f"{name} {index}", text.encode()


def _changed(first: int, count: int) -> Documents:
    known = bases()
    for number in range(first, first + count):
        random = Random(number)
        name = random.choice(list(known))
        yield f"{name} {number}", changed(known[name], random).encode()


def _damaged(first: int, count: int) -> Documents:
    known = {name: json.dumps(one, ensure_ascii=False).encode() for name, one in bases().items()}
    known |= {path.stem: path.read_bytes() for path in GOLDEN.glob("*.json")}
    for number in range(first, first + count):
        random = Random(number)
        name = random.choice(list(known))
        content = known[name]
        if random.random() < 0.3:
            content = changed(json.loads(content), random).encode()
        yield f"{name} {number}", damaged(content, random)


def _many(unit: str, count: int) -> str:
    return ",".join([unit] * count)


def _large() -> Documents:
    """What a few kinds of values take, each as often as 16 MiB or the limits of the format hold them."""
    full = LARGEST - 2000
    plain = '[{"weight": 1, "stages": [[{"op": "invert"}]]}]'

    def text(subpolicies: str = plain, provenance: str = "{}", definitions: str = "{}") -> str:
        head = '{"format": "augrad.policy", "version": 1, "interpolation": "bilinear", "fill": 0, "definitions": '
        return f'{head}{definitions}, "subpolicies": {subpolicies}, "provenance": {provenance}}}'

    def listed(unit: str, most: int = full) -> str:
        return text(provenance=f'{{"a": [{_many(unit, min(full // (len(unit) + 1), most))}]}}')

    def numbered(count: int) -> str:
        return ",".join(f'"{index:x}":0' for index in range(count))

    def operations(name: str) -> str:
        return text(f'[{{"weight": 1, "stages": [[{{"op": "{name}"}}]]}}]')

    def repeated(subpolicy: str) -> str:
        return text(f"[{_many(subpolicy, 10_000)}]")

    quarters = _many('{"op": "invert", "weight": 0.25}', 4)
    wide = f'{{"weight": 1e-4, "stages": [{_many(f"[{quarters}]", 4)}]}}'
    bad_name = "translate_xhorizontal_flip" * 4
    yield from (
        (name, content.encode())
        for name, content in {
            "numbers": listed("0"),
            "fractions": listed("1.5"),
            "strings": listed('"ab"'),
            "nulls": listed("null"),
            "long numbers": listed("9" * 309),
            "numbers that are too long": listed("9" * 310),
            "objects": listed('{"a":0}', 990_000),
            "empty objects": listed("{}", 990_000),
            "lists": listed("[1.5]", 990_000),
            "more objects than there may be": listed("{}", 1_000_001),
            "keys": text(provenance=f"{{{numbered(1_400_000)}}}"),
            "keys at the top": f"{{{numbered(1_400_000)}}}",
            "keys of a sub-policy": text(f"[{{{numbered(1_400_000)}}}]"),
            "one key again and again": text(provenance="{" + _many('"a":0', 2_500_000) + "}"),
            "keys twice": listed('{"a":0,"a":0}', 990_000),
            "a number": text(provenance='{"a": ' + "9" * full + "}"),
            "a fraction": text(provenance='{"a": 0.' + "9" * full + "}"),
            "a string": text(provenance=f'{{"a": "{"x" * full}"}}'),
            "a string of surrogates": text(provenance='{"a": "' + r"\ud800" * (full // 6) + '"}'),
            "a key": text(provenance=f'{{"{"x" * full}": 0}}'),
            "a format": f'{{"format": "{"x" * full}"}}',
            "a name": operations("x" * full),
            "a dotted name": operations("x." * (full // 2) + "x"),
            "an argument": text(definitions='{"a.b": {"arguments": {"x": [' + _many("0", full // 2) + "]}}}"),
            "a surrogate": text(definitions=f'{{"a.b": {{"surrogate": "{"x" * full}"}}}}'),
            "spaces": " " * full + "{}",
            "lines": "{" + "\n" * full + "x",
            "quotes": '"' * full,
            "backslashes": '"' + "\\" * full,
            "brackets": "[]" * (full // 2),
            "open brackets": "[" * full,
            "not ASCII": "é" * (full // 2),
            "too large": " " * (LARGEST + 1),
            "far too large": " " * (4 * LARGEST),
            "operations": repeated(wide),
            "bad sub-policies": repeated("{}"),
            "unknown keys": repeated('{"wieght": 1}'),
            "bad weights": repeated('{"weight": "x", "stages": 0}'),
            "bad names": repeated(f'{{"weight": 1e-4, "stages": [[{{"op": "{bad_name}"}}]]}}'),
            "bad definitions": text(
                definitions="{" + ",".join(f'"a.b{index}": {{"low": "x", "uint": 1}}' for index in range(256)) + "}"
            ),
            "many modules": text(
                definitions="{" + ",".join(f'"{"a" * 180}{index}.b": {{}}' for index in range(256)) + "}",
                subpolicies='[{"weight": 1, "stages": [['
                + ",".join(f'{{"op": "{"a" * 180}{index}.b", "weight": {1 / 256}}}' for index in range(256))
                + "]]}]",
            ),
        }.items()
    )


PARTS: dict[str, Callable[[], Documents]] = {
    "every place, version 1": lambda: _every_place("version_1"),
    "every place, definitions": lambda: _every_place("version_1_definitions"),
    "changed": lambda: _changed(0, 3000),
    "damaged": lambda: _damaged(0, 4000),
    "large": _large,
}


IMAGES = torch.linspace(0, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
_LARGE = 2**20
"""Bytes: what is larger is read, and not looked at further."""
_FIXED = re.compile(r'"scale": (0(\.0)?|[\d.]+e-3\d\d)[,}]')
"""A magnitude that does not vary, to the last bit: it may be saved as the fixed one that it is."""


def _close(one: str, other: str) -> bool:
    """Whether two words of documents are numbers that differ by the rounding of a logarithm and its exponential."""
    try:
        first, second = (float(word.rstrip(",]}")) for word in (one, other))
    except ValueError:
        return False
    return math.isclose(first, second, rel_tol=1e-10, abs_tol=1e-300)


def works(path: Path, policy: Any) -> str:
    """That an accepted policy is written, read again as the same, and gives finite images; else what is wrong."""
    if path.stat().st_size > _LARGE:
        return ""
    content = parse_policy(path.read_bytes())
    first = format_policy(content)
    if format_policy(parse_policy(first)) != first:
        return "written otherwise after it was read"
    saved = format_policy(document_of(policy))
    if saved != first and not _FIXED.search(first):
        pairs = zip(first.split(), saved.split(), strict=False)
        differing = [pair for pair in pairs if len(set(pair)) == 2 and not _close(*pair)]
        if differing or len(first.split()) != len(saved.split()):
            return f"saved otherwise than it was loaded: {differing[:1]}"
    if format_policy(document_of(policy_from_document(parse_policy(saved)))) != saved:
        return "saved otherwise the second time"
    return not_finite(policy)


def not_finite(policy: Any) -> str:
    """What is wrong with the images that the policy gives, if anything is and its tables are not huge."""
    if policy.tables.present.numel() > 100_000:
        return ""
    with augrad.engine("reference"):
        images = policy(IMAGES, generator=torch.Generator().manual_seed(0))
    return "" if images.shape == IMAGES.shape and images.isfinite().all() else "images that are not finite"


def main(part: str, folder: Path) -> None:
    torch.set_num_threads(1)
    watch = Watch(folder).install()
    for name, one in bases().items():  # whatever is imported at the first use is imported here
        path = folder / "policy.json"
        path.write_text(json.dumps(one))
        if "definitions" not in name:
            works(path, load_policy(path))
    for bad in (document([]), document([{"weight": 1, "stages": [[{"op": "rotat"}]]}])):
        path.write_text(json.dumps(bad))
        try:
            load_policy(path)
        except PolicyFileError:
            continue
    report = run(
        PARTS[part](),
        load_policy,
        works,
        (PolicyFileError,),
        watch,
        tried=3 if part.startswith("every") else 1,
        measure_memory=part == "large",
    )
    print(json.dumps(asdict(report)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
