"""Documents of other libraries with something wrong, and what reading them does.

`python tests/interop_corpus.py READER FOLDER` prints the report as JSON; `tests/interop/test_corpus.py` runs it.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml

from augrad import UserError
from augrad.interop.albumentations import from_albumentations, serialized, to_albumentations
from augrad.interop.genotype import from_genotype, published, read_genotype
from augrad.interop.timm import from_timm
from augrad.policy_file import format_policy, parse_policy
from augrad.policy_file.convert import document_of, load_policy
from mutations import changed, damaged
from odd_policies import ODD, policy_of
from policy_corpus import not_finite
from watched import Watch, run, seconds_for

AUTOALBUMENT = {
    "__version__": "0.5.2",
    "transform": {
        "__class_fullname__": "albumentations.core.composition.Compose",
        "p": 1.0,
        "transforms": [
            {
                "__class_fullname__": "albumentations.core.composition.OneOf",
                "p": 0.9,
                "transforms": [
                    {
                        "__class_fullname__": "albumentations.core.composition.Sequential",
                        "p": 0.1,
                        "transforms": [
                            {
                                "__class_fullname__": "albumentations.core.composition.OneOf",
                                "p": 1.0,
                                "transforms": [
                                    {
                                        "__class_fullname__": f"transforms.{name}",
                                        "always_apply": False,
                                        "p": 0.5,
                                        **options,
                                    }
                                    for name, options in {
                                        "HorizontalFlip": {},
                                        "Solarize": {"threshold": [102, 102]},
                                        "Posterize": {"num_bits": [4, 8]},
                                        "RandomGamma": {"gamma_limit": [80, 120]},
                                        "GaussianBlur": {"sigma_limit": [0.5, 2.0]},
                                        "RandomBrightnessContrast": {
                                            "brightness_limit": [0, 0],
                                            "contrast_limit": [1.8, 1.8],
                                        },
                                        "ShiftScaleRotate": {
                                            "shift_limit_x": [0.0, 0.0],
                                            "shift_limit_y": [0.0, 0.0],
                                            "scale_limit": [2.0, 2.0],
                                            "rotate_limit": [0.0, 0.0],
                                            "interpolation": 1,
                                            "border_mode": 4,
                                            "value": None,
                                        },
                                        "CoarseDropout": {
                                            "min_holes": 1,
                                            "max_holes": 1,
                                            "min_height": 8,
                                            "max_height": 8,
                                            "min_width": 8,
                                            "max_width": 8,
                                        },
                                    }.items()
                                ],
                            }
                        ],
                    }
                ],
            },
            {"__class_fullname__": "transforms.Normalize", "p": 1.0},
        ],
    },
}
CONFIGURATIONS = ["rand-m9-mstd0.5-inc1", "rand-m9-n3-mstd0.5", "rand-m9-w0-p0.5", "original-mstd0.5", "v0", "3a"]


def _documents(bases: list[Any], count: int) -> Iterator[tuple[str, bytes]]:
    """Of each of the bases in turn; every third with damaged bytes."""
    for number in range(count):
        random = Random(number)
        text = changed(bases[number % len(bases)], random).encode()
        yield str(number), damaged(text, random) if number % 3 == 0 else text


def _short(documents: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Without the long ones: PyYAML takes a second for a hundred thousand bytes."""
    return ((label, content) for label, content in documents if len(content) < 20_000)


def _configurations(count: int) -> Iterator[tuple[str, bytes]]:
    for number in range(count):
        random = Random(number)
        parts = random.choice(CONFIGURATIONS).split("-")
        for _ in range(random.choice([1, 1, 2])):
            at = random.randrange(len(parts))
            key = random.choice(["m", "n", "p", "w", "mstd", "mmax", "inc", "t", "x", "", "rand", "original", "3a"])
            value = random.choice(["", "0", "-1", "1e9", "nan", "inf", "0.5", "9" * 400, "1000000", "é", "\x00", "\n"])
            parts[at : at + random.choice([0, 1])] = [key + value]
        yield str(number), "-".join(parts).encode()


def _albumentations(path: Path) -> Any:
    return from_albumentations(path, side=32).result


def _yaml(path: Path) -> Any:
    renamed = path.with_suffix(".yaml")
    renamed.write_bytes(path.read_bytes())
    return from_albumentations(renamed, side=32).result


def _genotype(path: Path) -> Any:
    return from_genotype(read_genotype(path)).result


def _timm(path: Path) -> Any:
    return from_timm(path.read_bytes().decode(), side=32).result


def _albumentations_bases() -> list[Any]:
    today = [json.loads(serialized(to_albumentations(policy_of(ODD[name])).result)) for name in ("value", "ragged")]
    return [AUTOALBUMENT, *today]


def _genotype_bases() -> list[Any]:
    return [{"list": found[:3]} for name in ("dada", "fast_autoaugment") for found in published(name)[1].values()]


def _lists(count: int) -> Iterator[tuple[str, bytes]]:
    """The mutators change objects: the list is what is in one."""
    for label, content in _documents(_genotype_bases(), count):
        inner = content.strip().removeprefix(b'{"list": ').removesuffix(b"}")
        yield label, inner


READERS: dict[str, tuple[Callable[[Path], Any], Callable[[], Iterator[tuple[str, bytes]]]]] = {
    "albumentations": (_albumentations, lambda: _documents(_albumentations_bases(), 1000)),
    "albumentations, YAML": (_yaml, lambda: _short(_documents(_albumentations_bases(), 200))),
    "genotype": (_genotype, lambda: _lists(1000)),
    "timm": (_timm, lambda: _configurations(60)),
}


ALLOWED: dict[str, Callable[[int], float]] = {
    "albumentations, YAML": lambda size: max(0.1, size / 5e4),
    "timm": lambda size: 2.0,  # a logit-normal distribution is fitted for each of its operations
}
"""Seconds of processor time by size, where they are others."""


def works(path: Path, policy: Any) -> str:
    """That a policy which was read can be written and gives finite images; else what is wrong."""
    text = format_policy(document_of(policy))
    if format_policy(parse_policy(text)) != text:
        return "written otherwise after it was read"
    return not_finite(policy)


def main(reader: str, folder: Path) -> None:
    torch.set_num_threads(1)
    watch = Watch(folder).install()
    read, documents = READERS[reader]
    # Whatever is imported at the first use is imported here.
    path = folder / "policy.json"
    bases = {"genotype": published("dada")[1]["cifar10"], "timm": None}.get(reader, AUTOALBUMENT)
    path.write_text(CONFIGURATIONS[0] if bases is None else json.dumps(bases))
    works(path, read(path))
    load_policy("identity")
    yaml.safe_load("[1.5, {a: null}]")
    allowed = ALLOWED.get(reader, seconds_for)
    print(json.dumps(asdict(run(documents(), read, works, (UserError,), watch, allowed=allowed))))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
