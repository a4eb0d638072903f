"""What a run leaves for a person to look at: figures, the comparison, the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augrad.data.pixels import to_float
from augrad.data.types import Split
from augrad.policy import Policy
from augrad.policy_file import PolicyDocument
from augrad.runs.metrics import read_metrics
from augrad.show.figures import comparison_figure, evolution_figure, examples_figure
from augrad.show.report import write_report
from augrad.show.statistics import ComparisonRow
from augrad.show.style import save_figure


def draw_examples(policy: Policy, split: Split, seed: int, images: int = 6, draws: int = 8) -> tuple[Tensor, Tensor]:
    """First images of some classes and draws of the policy on each: [N,C,H,W], [N,M,C,H,W], in [0, 1], on the CPU."""
    first = [int((split.labels == label).nonzero()[0]) for label in split.labels.unique().tolist()[:images]]
    before = to_float(split.images[first])
    repeated = before.repeat_interleave(draws, 0)
    with torch.no_grad():
        after = policy(repeated, generator=torch.Generator().manual_seed(seed))
    return before.cpu(), after.unflatten(0, (len(first), draws)).cpu()


def write_figures(
    directory: Path, policy: Policy, split: Split, seed: int, comparison: list[ComparisonRow] | None
) -> dict[str, Path]:
    """evolution, examples and, where there is one, comparison, as PNG files below `directory`/figures."""
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    before, after = draw_examples(policy, split, seed)
    figures = {
        "evolution": evolution_figure(read_metrics(directory / "metrics.jsonl")),
        "examples": examples_figure(before, after),
    }
    if comparison:
        figures["comparison"] = comparison_figure(comparison)
    paths = {name: folder / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        save_figure(figure, paths[name])
    return paths


def write_search_report(
    directory: Path,
    document: PolicyDocument,
    figures: Mapping[str, Path],
    comparison: list[ComparisonRow] | None,
    summary: Mapping[str, Any],
    config_text: str,
) -> Path:
    """report.html in the run's directory."""
    path = directory / "report.html"
    rows = read_metrics(directory / "metrics.jsonl")
    write_report(path, "Policy search", document, rows, figures, comparison, summary, config_text)
    return path
