"""What pages repeat of the code is as the code has it."""

from augrad import ops
from page_blocks import ROOT


def test_the_table_of_operations() -> None:
    rows = []
    for op in map(ops.get, ops.names()):
        of_magnitude = ["–"] * 4
        if op.has_magnitude:
            signed = "yes" if op.signed else "no"
            of_magnitude = [str(op.unit), f"{op.low:g} to {op.high:g}", signed, op.magnitude_grad.replace("_", "-")]
        rows.append("| " + " | ".join([f"`{op.name}`", *of_magnitude, op.kind]) + " |")
    page = (ROOT / "docs" / "reference" / "ops.md").read_text(encoding="utf-8")
    table = "\n".join(["| operation | unit | range | signed | derivative | kind |", "|---|---|---|---|---|---|", *rows])
    assert table in page, f"the table should be:\n{table}"
