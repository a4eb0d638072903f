"""What `augrad.learn` returns: the policy, how it was found, and how it was judged."""

import html
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from augrad.atomic import write_text
from augrad.comparison.arms import LEARNED
from augrad.comparison.rows import TrainingRow
from augrad.comparison.summary import csv_of, markdown_of
from augrad.comparison.verdict import Verdict, judge
from augrad.data.summary import lines_about
from augrad.data.types import Splits
from augrad.paths import expanded
from augrad.policy import Policy
from augrad.policy_file.convert import document_of
from augrad.search.choice import Chosen
from augrad.search.loop import Row
from augrad.search.words import facts_of_end
from augrad.show.about import describe_shape
from augrad.show.page import comparison_fragment, policy_fragment
from augrad.show.report import NARROW, report_page
from augrad.show.run_figures import search_figures
from augrad.show.style import png_of


@dataclass(frozen=True)
class Comparison:
    """Trainings of the same classifier with the learned policy and with what it is judged against.

    rows: one for each training. A notebook shows the verdict and a table.
    """

    rows: tuple[TrainingRow, ...] = field(repr=False)

    @property
    def verdict(self) -> Verdict:
        """Whether the learned policy is better than the best of the others, in words, with the reasons."""
        return judge(self.rows, LEARNED)

    def markdown(self) -> str:
        """The verdict and a line for each policy."""
        return markdown_of(self.rows, LEARNED)

    def csv(self) -> str:
        """A line for each training."""
        return csv_of(self.rows)

    def _repr_html_(self) -> str:
        return comparison_fragment(self.rows, LEARNED)


@dataclass(frozen=True)
class Report:
    """A page that needs nothing else: `save` writes it, a notebook shows it in a frame."""

    html: str = field(repr=False)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page, atomically, and returns where. Raises UserError if that cannot be."""
        write_text(expanded(path), self.html)
        return expanded(path)

    def _repr_html_(self) -> str:
        # Without scripts and in a frame of its own: neither the page nor the notebook changes how the other looks.
        frame = 'sandbox style="width: 100%; height: 40rem; border: 0"'
        return f'<iframe srcdoc="{html.escape(self.html)}" {frame}></iframe>'


@dataclass(frozen=True)
class SearchResult:
    """What a search has learned.

    policy: the mean over the last steps, or what `SearchSettings.select` says, or what the choice left; it is on the
    device of the search. final_policy: after the last step. initial: what the search began with. model: the classifier
    that was trained along, after the last step.
    metrics: one row for each step, in order: the losses, the policy in numbers, the seconds.
    steps: how many were done. finished: whether these are all; False after Ctrl-C, or where `callback` said so.
    best_step: the step that `policy` is from, 0 where none was chosen yet. best_loss: its loss on the selection split,
    infinite where none was chosen yet. test_accuracy: of `model` on the test split, from 0 to 1.
    taken: where in the search the policy is from, in words. chosen: what the choice among its start, the learned policy
    and what lies further that way has found; comparison: how the policy was judged. Both None unless asked for, where
    the search is not finished, or where Ctrl-C ended them. data, seed: of the search. summary: it in a few numbers.
    """

    policy: Policy
    final_policy: Policy
    initial: Policy
    model: nn.Module = field(repr=False)
    metrics: list[Row] = field(repr=False)
    steps: int
    finished: bool
    best_step: int
    best_loss: float
    test_accuracy: float
    taken: str
    data: Splits = field(repr=False)
    seed: int
    summary: dict[str, Any] = field(repr=False)
    chosen: Chosen | None = None
    comparison: Comparison | None = None

    @cached_property
    def report(self) -> Report:
        """The page that `augrad search` writes, with figures, drawn when it is first asked for."""
        document = document_of(self.policy)
        rows = None if self.comparison is None else list(self.comparison.rows)
        figures = search_figures(lambda: self.metrics, self.policy, self.data, self.seed, rows, self.best_step or None)
        made = {
            f"{name}{width}": png_of(make())
            for name, makes in figures.items()
            for make, width in zip(makes, ("", NARROW), strict=False)
        }
        page = report_page(
            title=f"Policy search on {self.data.name}",
            document=document,
            rows=self.metrics,
            figures=made,
            comparison=rows,
            summary={**self.summary, **facts_of_end(self.chosen, rows)},
            taken=self.taken,
            data=lines_about(self.data),
        )
        return Report(page)

    def _repr_html_(self) -> str:
        """What a notebook shows: the heaviest operations of the policy, how far the search came, and the verdict."""
        document = document_of(self.policy)
        done = f"{self.steps} steps; test accuracy of the classifier trained along {100 * self.test_accuracy:.1f}%"
        judged = "" if self.comparison is None else self.comparison._repr_html_()
        return policy_fragment(document, f"{describe_shape(document)}; {done}") + judged
