"""Every code block of README and the documentation runs as it stands, or says in the Markdown why it does not."""

import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from page_blocks import LANGUAGES, ROOT, RUN, Reader, blocks_of, pages_of_site
from problems import shapes_unchecked

PAGES = ["README.md", *pages_of_site()]
ELSEWHERE = {"CONTRIBUTING.md"}  # tests/packaging/test_contributing.py does what it says, in a copy of the repository
TRAINS = {
    f"docs/guides/libraries/{page}.md" for page in ("torchvision", "kornia", "albumentations", "timm", "lightning")
}
"""The pages of a training on the pictures of the tutorial, which prints how many test pictures it gets right."""
LONG = {
    *TRAINS,
    "README.md",
    "docs/index.md",
    "docs/tutorial.md",
    *(f"docs/guides/{page}.md" for page in ("data", "operation", "resume", "sweeps")),
}
# What a page takes for granted.
PICTURES = """
import os
import augrad
from page_blocks import blocks_of
make_pictures, *_ = (b.text for b in blocks_of("docs/tutorial.md") if b.text.startswith("# make_pictures.py"))
exec(make_pictures)
"""
GIVEN = {
    "docs/guides/scripts.md": PICTURES,
    **dict.fromkeys(
        TRAINS,
        f"""{PICTURES}
os.makedirs("runs/first")
turned = augrad.Policy.over({{"rotate": {{"high": 30.0}}, "translate_x": None}}, probability=0.9)
augrad.save_policy(turned, "runs/first/policy.json")
""",
    ),
    "docs/guides/compare.md": """
import augrad
augrad.save_policy(augrad.load_policy("trivialaugment_wide"), "policy.json")
""",
    "README.md": """
from dataclasses import dataclass
import torch
import augrad
from augrad.estimators.estimate import Estimate

device = "cpu"
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(10))
loader = [(torch.rand(8, 3, 32, 32), torch.randint(10, (8,)))]
augrad.save_policy(augrad.load_policy("identity"), "policy.json")
""",
}


def runs_something(page: str) -> bool:
    return page not in ELSEWHERE and any(block.language in RUN and block.not_run is None for block in blocks_of(page))


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    yield Reader(monkeypatch)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=pytest.mark.slow) if p in LONG else p for p in PAGES if runs_something(p)],
)
def test_the_blocks_of_a_page_run_in_order(page: str, reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    # A long page does things hundreds of times: shapes are checked on the others.
    with shapes_unchecked() if page in LONG else nullcontext():
        reader.python(GIVEN.get(page, ""))
        for block in blocks_of(page):
            if block.not_run is None:
                reader.do(block)
    if page in TRAINS:
        accuracies = re.findall(r"test accuracy (\d\.\d+)", capsys.readouterr().out)
        assert accuracies
        assert all(float(accuracy) > 0.5 for accuracy in accuracies), accuracies


def test_a_block_that_is_not_run_says_why() -> None:
    blocks = [block for page in PAGES if page not in ELSEWHERE for block in blocks_of(page) if block.language in RUN]
    left_out = [block for block in blocks if block.not_run is not None]
    print(f"{len(left_out)} of {len(blocks)} blocks are not run:")
    for block in left_out:
        print(f"  {block}  ({block.not_run})")
        assert len(block.not_run.split()) > 2, f"{block}: why is it not run?"
    assert len(left_out) < len(blocks) / 3


@pytest.mark.parametrize("page", PAGES)
def test_no_code_hides_from_the_tests(page: str) -> None:
    markdown = (ROOT / page).read_text(encoding="utf-8")
    assert [str(block) for block in blocks_of(page) if block.language not in LANGUAGES] == []
    assert len(re.findall(r"^ *```", markdown, re.MULTILINE)) == 2 * len(blocks_of(page))
    if page != "README.md":
        indented = re.findall(r"^\n    +((?:\S+=\S+ +)*(?:augrad|bash|python|pip) .*)", markdown, re.MULTILINE)
        assert indented == [], "a command in a block that is indented: fence it, with its language"
