"""Overrides that documents, comments of configurations and messages advise are taken as they are written there."""

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from augrad.cli.configs import config_directory

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/**/*.md")),
    *(*ROOT.glob("configs/*.yaml"), *ROOT.glob("configs/*/*.yaml"), *ROOT.glob("lib/augrad/**/*.py")),
]
GROUPS = "data|model|space|policy|objective|estimator|hypergradient|tracker|search|train|compare|standard|export"
WORD = re.compile(rf"(?<![\w.+~/$-])(?:\+{{0,2}}|~)(?:{GROUPS})(?:\.\w+)+(?:=(?:[\w.]+(?![\w(])|[\[{{][^]}}]*[]}}]))?")
# The command, and what stands beside a word where it is advised.
BESIDE = [
    ("train", ["model=timm"]),
    ("train", ["model=torch"]),
    *[("search", [word]) for word in ("seed=0", "data=folder", "data=imagenet", "data=cifar10", "data=arrays")],
    *[
        ("search", [word])
        for word in (
            "space=trivialaugment_wide",
            "policy=file",
            "objective=adversarial",
            "objective=whole_training",
            "estimator=enumerate",
            "hypergradient=unrolled",
            "hypergradient=neumann",
            "hypergradient=cg",
            "tracker=wandb",
        )
    ],
    ("train", []),
]


def advised() -> set[str]:
    words = set()
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        pieces = {
            ".md": r"`([^`\n]+)`|^ +augrad (.*)$",
            ".yaml": r"#(.*)$",
            ".py": r'"([^"\n]*)"',
        }[file.suffix]
        for piece in re.finditer(pieces, text, re.MULTILINE):
            for found in WORD.findall("".join(group or "" for group in piece.groups())):
                # Templates and spaces of one's own aside.
                is_override = "=" in found or found.startswith("~")
                if is_override and not re.search(r"\.\.\.|'|\+space\.|=\{[^:]*$", found):
                    words.add(found.rstrip("."))
    return words


def is_there(word: str, config: DictConfig) -> bool:
    *parents, key = word.lstrip("+~").partition("=")[0].split(".")
    parent = OmegaConf.select(config, ".".join(parents))
    return isinstance(parent, DictConfig) and (key in set(parent) or word.startswith("+"))


def test_advised_overrides_are_taken() -> None:
    words = advised()
    assert {"++search.policy_rates.op_logits=2.0", "space.ops.rotate.high=45", "~space.ops.solarize"} <= words
    assert {"data.path=mine.npz", "tracker.mode=offline", "policy.allow=[mypackage.ops]"} <= words
    with initialize_config_dir(config_directory(), version_base="1.3"):
        with pytest.raises(HydraException, match="To append to your config"):
            compose("search", ["search.policy_rates={op_logits: 2.0}"])
        for command, beside in BESIDE:
            config = compose(command, beside)
            mine = sorted(word for word in words if is_there(word, config))
            compose(command, [*beside, *mine])
            words.difference_update(mine)
    assert not words
