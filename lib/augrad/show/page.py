"""HTML pages that need nothing else, on a desk or on a phone, by day or by night."""

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from augrad.comparison.rows import TrainingRow
from augrad.comparison.statistics import percent, points
from augrad.comparison.summary import lines_of
from augrad.comparison.verdict import judge
from augrad.policy_file import PolicyDocument
from augrad.show.words import heaviest_rows, operation_masses, policy_rows, share, short_names
from augrad.terminal.output import visible, writable

_LEAST_MASS = 0.005


def rendered(template: str, names: Mapping[str, str], **values: Any) -> str:
    """The page that `template`, a file beside this one, makes of the values; what they hold is text, never HTML.

    names: of operations, and how they are called on the page. Control characters are escaped, and what is no Unicode.
    """
    environment = Environment(
        loader=FunctionLoader(lambda name: files("augrad.show").joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": share, "short": names.__getitem__, "percent": percent, "points": points}
    return writable(visible(environment.get_template(template).render(values)))


def policy_fragment(document: PolicyDocument, caption: str, limit: int = 8) -> str:
    """The `limit` heaviest operations as a table for a notebook: HTML that stands in a page of somebody else's."""
    rows, left_out = heaviest_rows(policy_rows(document), limit)
    names = short_names(row.op for row in rows)
    return rendered("fragment.html.jinja", names, caption=caption, rows=rows, left_out=len(left_out))


def comparison_fragment(rows: Sequence[TrainingRow], reference: str) -> str:
    """The verdict and a line for each policy, for a notebook."""
    return rendered("comparison.html.jinja", {}, verdict=judge(rows, reference), lines=lines_of(rows, reference))


def visible_masses(document: PolicyDocument) -> list[tuple[str, float]]:
    """How often an image meets each operation in a stage, the largest first, without what no bar could show."""
    return [(op, mass) for op, mass in operation_masses(document).items() if mass >= _LEAST_MASS]


def data_uri(data: bytes, kind: str) -> str:
    """A picture as a part of the page; kind: "png" or "jpeg"."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
