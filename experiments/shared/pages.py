"""What the reports share: tables, small pictures, and the part of a page between two marks."""

import argparse
import io
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from augrad.atomic import write_bytes
from augrad.show.style import style

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def markdown(title: str, head: list[str], rows: dict[str, list[str]]) -> list[str]:
    """A table under a title in bold; rows by what stands in the first column."""
    return [
        *("", f"**{title}**", ""),
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
    ]


def measured(
    description: str | None,
    page: str,
    small: str,
    run: Callable[[bool, int], Any],
    note: Callable[[Any, float, int], str],
) -> tuple[Path, Any, str]:
    """Reads the command line of a report; the page, what was measured or kept, and where that comes from.

    page: an example. small: what --small says of itself. run: (small, processes) -> numbers; note: (numbers, seconds of
    processor time, processes) -> words.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, required=True, help=f"the page, e.g. {page}")
    parser.add_argument("--processes", type=int, default=2, help="of one thread each (default: %(default)s)")
    parser.add_argument(
        "--measured", type=Path, help="keep the numbers here; drawn from them where they are there already"
    )
    parser.add_argument("--small", action="store_true", help=small)
    options = parser.parse_args()
    if options.measured and options.measured.exists():
        return options.page, *pickle.loads(options.measured.read_bytes())
    report = run(options.small, options.processes)
    words = note(report, os.times().children_user, options.processes)
    if options.measured:
        write_bytes(options.measured, pickle.dumps((report, words)))
    return options.page, report, words


def command() -> str:
    """The command as it was given, without what only says where numbers are kept."""
    arguments = list(sys.argv[1:])
    for option in ("--measured", "--out", "--table"):
        if option in arguments:
            index = arguments.index(option)
            del arguments[index : index + 2]
    spec = sys.modules["__main__"].__spec__
    return " ".join(["python", *(["-m", spec.name] if spec else sys.argv[:1]), *arguments])


def write_page(
    page: Path, title: str, note: str, figures: Mapping[str, Figure], captions: Mapping[str, str], tables: list[str]
) -> None:
    """Figures beside the page, and between its marks the note, links to them and the tables.

    figures, captions: by the files' names. title: of a page that is not there yet. A page without marks gets them at
    its end.
    """
    folder = page.parent / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [BEGIN, "", note]
    for number, (name, figure) in enumerate(figures.items(), 1):
        save_figure(figure, folder / f"{name}.png")
        lines += ["", f"![{name}](figures/{name}.png)", "", f"**Figure {number}.** {captions[name]}"]
    lines += [*tables, "", END]
    text = page.read_text() if page.exists() else f"# {title}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    write_bytes(page, (before.rstrip("\n") + "\n\n" + "\n".join(lines) + (after or "\n")).encode())


def save_figure(figure: Figure, path: Path) -> None:
    """As a PNG of 256 colours, which is half the size. The same figure, the same bytes."""
    buffer, small = io.BytesIO(), io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    picture = Image.open(buffer).convert("RGB")
    # Not the median cut, which drops the colours of small marks.
    picture = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(small, format="png", optimize=True)
    write_bytes(path, small.getvalue())
