"""Docstrings, which are plain sentences, as Markdown (scripts/site_docstrings.py)."""

import importlib.util
from types import ModuleType

import pytest

from page_blocks import ROOT


@pytest.fixture(scope="module")
def docstrings() -> ModuleType:
    pytest.importorskip("griffe")
    spec = importlib.util.spec_from_file_location("site_docstrings", ROOT / "scripts" / "site_docstrings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        (
            "What it does.\n\nlow, high: the range. unit: of both.\nRaises UserError for others.",
            "What it does.\n\n- `low`, `high`: the range.\n- `unit`: of both.\n\nRaises UserError for others.",
        ),
        (
            'low: what is.\n  "first": a sentence,\n    over two lines.\n  "last": another.\nAfter it. high: the end.',
            '- `low`: what is.\n    - `"first"`: a sentence, over two lines.\n    - `"last"`: another.\n\n'
            "After it.\n\n- `high`: the end.",
        ),
        (
            'low: what is. "first": a sentence,\n  over two lines. "last": another.\nAfter it.',
            '- `low`: what is.\n    - `"first"`: a sentence, over two lines.\n    - `"last"`: another.\n\nAfter it.',
        ),
        ("low (in [0, 1]), high: the range.", "- `low` (in \\[0, 1\\]), `high`: the range."),
        ("Note: no argument. It says: nothing.", "Note: no argument. It says: nothing."),
        ("s_i = <u, g> * [B]", "s\\_i = &lt;u, g> \\* \\[B\\]"),
        ("`s_i = <u>` stays", "`s_i = <u>` stays"),
        (
            "low: the magnitude is\n    low + 1\nand so on.",
            "- `low`: the magnitude is\n\n        low + 1\n\nand so on.",
        ),
        ("The loss is\n\n    a * b\n\nof both.", "The loss is\n\n    a * b\n\nof both."),
    ],
)
def test_sentences_become_lists(docstrings: ModuleType, text: str, markdown: str) -> None:
    assert docstrings.as_markdown(text, {"low", "high", "unit"}) == markdown
