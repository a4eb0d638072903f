"""What each library can carry of a policy, by operation: read from the converters themselves."""

from collections.abc import Callable, Mapping

from augrad import ops
from augrad.interop import albumentations, genotype, kornia, timm
from augrad.interop.leaves import Known, resamples
from augrad.ops.spec import Op

_NO, _YES = "no", "yes"


def _of_table(table: Mapping[str, Known]) -> Callable[[Op], str]:
    def cell(op: Op) -> str:
        if op.name not in table:
            return _NO
        known = table[op.name]
        weakest = op.low if op.low is not None and not op.signed else -(op.high or 0)
        stronger = f"only from {known.least:g} {op.unit} on" if known.least > min(weakest, op.low or 0.0) else ""
        weaker = f"above {known.most:g} {op.unit} {known.beyond}" if known.beyond else ""
        return "; ".join(filter(None, [known.loss, stronger, weaker])) or _YES

    return cell


def _genotype(op: Op) -> str:
    known = next((one for one in genotype.RANGES.values() if one.op == op.name), None)
    if known is None or known.low is None or known.high is None:
        return _YES if known or op.kind == "identity" else _NO
    low, high = (f"{min(end, 1.0) if op.unit == 'threshold' else end:g}" for end in (known.low, known.high))
    way = "always either way at random" if known.mirrored else "one way, or both as two entries" if op.signed else ""
    more = genotype.CUTOUT if op.name == "cutout" else ""
    return ", ".join(filter(None, [f"{low} to {high} {op.unit}", way, more]))


def _timm(op: Op) -> str:
    known = [one for one in timm.KNOWN.values() if one.op == op.name and (one.level or op.unit is None)]
    if not known:
        return _YES if op.kind == "identity" else _NO
    way = "always either way at random" if all(one.signed for one in known) else ""
    border = "a row of pixels at the border is mixed otherwise where it is bilinear" if resamples(op) else ""
    return "; ".join(filter(None, [known[0].loss, way, border])) or _YES


def _torchvision(op: Op) -> str:
    return _NO if op.kind == "mix" else _YES


COLUMNS: Mapping[str, Callable[[Op], str]] = {
    "torchvision": _torchvision,
    "Kornia": _of_table(kornia.KNOWN),
    "Albumentations": _of_table(albumentations.KNOWN),
    "timm": _timm,
    "genotype list": _genotype,
}
"""Of each library, what becomes of an operation there."""


def coverage() -> str:
    """A Markdown table: a row for each operation, a column for each library, and what the letters in it stand for."""
    notes: dict[str, str] = {}

    def short(text: str) -> str:
        if text in (_YES, _NO):
            return text
        return f"yes, [{notes.setdefault(text, _letter(len(notes)))}]"

    rows = [[f"`{name}`", *(short(cell(ops.get(name))) for cell in COLUMNS.values())] for name in ops.names()]
    head = ["operation", *COLUMNS]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join([*lines, "", *(f"- [{letter}] {text}" for text, letter in notes.items())]) + "\n"


def _letter(index: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return (
        letters[index] if index < len(letters) else letters[index // len(letters) - 1] + letters[index % len(letters)]
    )
