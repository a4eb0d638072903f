"""The report as a browser reads it: self-contained, escaped, legible by day and by night."""

import base64
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from augrad.errors import UserError
from augrad.policy_file import Entry, PolicyDocument, SubPolicy
from augrad.show.figures import comparison_figure, save_figure
from augrad.show.report import _LEGENDS, write_report
from browser import CUT, Browser
from trainings import trainings

_COMPARISON = trainings({"none": (0.90, 0.92, 0.91), "initial": (0.93, 0.945, 0.93), "learned": (0.95, 0.96, 0.955)})
_VOID = {"meta", "img", "source", "br", "link", "input"}


class _Page(HTMLParser):
    """Elements with their attributes, texts by element; and that every element is closed in its place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1], " ".join(data.split())))

    def all(self, tag: str) -> list[str]:
        return [text for where, text in self.texts if where == tag]

    @property
    def text(self) -> str:
        return " ".join(text for where, text in self.texts if where != "style")


@pytest.fixture
def figure(tmp_path: Path) -> Path:
    path = tmp_path / "figures" / "comparison.png"
    save_figure(comparison_figure(_COMPARISON), path)
    return path


def _write(path: Path, document: PolicyDocument, **options: Any) -> _Page:
    given: dict[str, Any] = {"title": "A search", "rows": [], "figures": {}, "comparison": None, "summary": {}}
    write_report(path, document=document, **{**given, **options})
    return _Page(path.read_text("utf-8"))


def test_the_headline_and_the_comparison(tmp_path: Path, document: PolicyDocument):
    page = _write(tmp_path / "report.html", document, comparison=_COMPARISON)
    assert page.all("title") == page.all("h1") == ["A search"]
    verdict = next(attributes for tag, attributes in page.elements if "verdict" in (attributes.get("class") or ""))
    assert verdict["class"] == "verdict better"
    assert "Better than the best of the others, initial (n = 3)" in page.all("p")
    assert any(text.startswith("+4.5 percentage points over no augmentation (95% interval ") for text in page.all("p"))
    assert page.all("b") == ["91.0%", "93.5%", "95.5%"]
    cells = page.all("td")
    assert cells[:3] == ["none", "3", "91.0%"]
    assert cells[cells.index("learned") + 2] == "95.5%"
    assert any(cell.startswith("+4.5 (") for cell in cells)
    assert {"0.090", "2.0%", "0.500"} <= set(cells)  # loss, calibration error, diversity


def test_a_comparison_alone(tmp_path: Path):
    page = _write(tmp_path / "report.html", None, comparison=_COMPARISON)
    assert page.all("h2") == ["Compared"]


def test_without_a_comparison_it_says_how_to_get_one(tmp_path: Path, document: PolicyDocument):
    page = _write(tmp_path / "report.html", document)
    assert "Learned, not judged yet" in page.all("p")
    assert page.all("code") == ["augrad compare"]
    assert "Compared" not in page.all("h2")


def test_the_policy_in_words(tmp_path: Path, document: PolicyDocument):
    page = _write(tmp_path / "report.html", document)
    cells = page.all("td")
    assert cells[:7] == [
        "75%",
        "shear_x",
        "54%",
        "factor 0 to ±0.11 (end: 80% between 0.1 and 0.13)",
        "90%",
        "80%",
        "1",
    ]
    assert cells[7:13] == ["solarize", "15%", "threshold 0.71", "100%", "20%", "1"]
    bars = [attributes["style"] for tag, attributes in page.elements if tag == "i"]
    assert bars[0] == "width: 100.0%"
    assert len(bars) == 5


def test_a_long_policy_is_cut_and_says_so(tmp_path: Path):
    one = SubPolicy(weight=0.01, stages=((Entry(op="invert", probability=0.5, weight=1.0),),))
    document = PolicyDocument(interpolation="bilinear", fill=0.0, subpolicies=(one,) * 100)
    page = _write(tmp_path / "report.html", document)
    assert page.all("td").count("invert") == 40
    assert "60 more operations are in the policy file." in page.text


def test_figures_are_inside(tmp_path: Path, document: PolicyDocument, figure: Path):
    page = _write(tmp_path / "report.html", document, figures={"comparison": figure, "mine": figure})
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert [image["alt"] for image in images] == [f"comparison: {_LEGENDS['comparison']}", "mine: mine"]
    for image in images:
        kind, data = (image["src"] or "").split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data) == figure.read_bytes()


def test_nothing_is_fetched(tmp_path: Path, document: PolicyDocument, figure: Path):
    options = {"comparison": _COMPARISON, "figures": {"comparison": figure}, "config_text": "see https://example.org"}
    page = _write(tmp_path / "report.html", document, **options)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "a"})
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "background"):
            assert (attributes.get(name) or "data:").startswith("data:")
    (css,) = page.all("style")
    assert "url(" not in css
    assert "@import" not in css
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert (policy or "").startswith("default-src 'none'; img-src data:;")


_EVIL = "</pre></title><script>alert('1')</script>\"'&"


def test_what_looks_like_html_stays_text(tmp_path: Path, figure: Path):
    entry = Entry.model_construct(op=_EVIL, unit=None, magnitude=None, signed=False, probability=0.5, weight=1.0)
    subpolicy = SubPolicy.model_construct(weight=1.0, stages=((entry,),))
    document = PolicyDocument.model_construct(subpolicies=(subpolicy,))
    page = _write(
        tmp_path / "report.html",
        document,
        title=_EVIL,
        figures={_EVIL: figure},
        comparison=trainings({_EVIL: (0.5, 0.6), "learned": (0.7, 0.8)}),
        summary={_EVIL: _EVIL},
        config_text=_EVIL,
    )
    assert "script" not in {tag for tag, _ in page.elements}
    for where in ("title", "h1", "figcaption", "dd", "pre", "td"):
        assert _EVIL in page.all(where), where
    assert any(attributes.get("alt") == f"{_EVIL}: {_EVIL}" for _, attributes in page.elements)
    assert "<script" not in (tmp_path / "report.html").read_text("utf-8")


def test_facts_of_the_run(tmp_path: Path, document: PolicyDocument, rows: list[dict[str, Any]]):
    summary = {
        "search_seconds": 3725.0, "test_accuracy": 0.9551, "images": 1000, "rate": 0.00012345, "delta": -0.5,
        "resumed": False, "note": None, "data": {"name": "digits", "shape": [8, 8]}, "lost": float("nan"),
    }  # fmt: skip
    page = _write(tmp_path / "report.html", document, rows=rows, summary=summary)
    facts = dict(zip(page.all("dt"), page.all("dd"), strict=True))
    assert facts["last step"] == "299"
    assert facts["validation accuracy"] == "79.8%"
    assert facts["selection accuracy"] == "72.5%"
    assert facts["training loss"] == f"{rows[-1]['train_loss']:.4g}"
    expected = {
        "search seconds": "1:02 h", "test accuracy": "95.5%", "images": "1000", "rate": "0.0001234", "delta": "−0.5",
        "resumed": "no", "note": "–", "data name": "digits", "data shape": "8, 8", "lost": "nan",
    }  # fmt: skip
    assert {name: facts[name] for name in expected} == expected


def test_the_configuration_is_as_given(tmp_path: Path, document: PolicyDocument):
    text = "seed: 0\nmodel:\n  width: 16  # {{ 7 * 7 }} {% raw %}\n"
    _write(tmp_path / "report.html", document, config_text=text)
    assert f"<pre>{text}</pre>" in (tmp_path / "report.html").read_text("utf-8")


def test_the_same_report_is_the_same_file(tmp_path: Path, document: PolicyDocument, figure: Path):
    for name in ("a", "b"):
        _write(tmp_path / name / "report.html", document, comparison=_COMPARISON, figures={"comparison": figure})
        assert os.listdir(tmp_path / name) == ["report.html"]
    assert (tmp_path / "a" / "report.html").read_bytes() == (tmp_path / "b" / "report.html").read_bytes()


def test_a_missing_figure_is_named_and_the_old_report_stays(tmp_path: Path, document: PolicyDocument):
    _write(tmp_path / "report.html", document, title="old")
    with pytest.raises(UserError, match=r"nowhere.png: cannot read this figure"):
        _write(tmp_path / "report.html", document, figures={"evolution": tmp_path / "nowhere.png"})
    assert _Page((tmp_path / "report.html").read_text("utf-8")).all("h1") == ["old"]


def _luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_words_stand_out_from_the_paper(tmp_path: Path, document: PolicyDocument, scheme: int):
    page = _write(tmp_path / "report.html", document)
    (css,) = page.all("style")
    assert "@media (prefers-color-scheme: dark)" in css
    colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", re.findall(r":root \{([^}]*)\}", css)[scheme]))
    for paper in ("paper", "panel"):
        for ink in ("ink", "quiet", "accent", "better", "worse", "open"):
            dark, light = sorted((_luminance(colors[paper]), _luminance(colors[ink])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (paper, ink)  # WCAG 2, level AA


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_in_a_browser_nothing_is_cut(width: int, browser: Browser, tmp_path: Path, document: PolicyDocument) -> None:
    figures = {}
    for name, narrow in (("comparison", False), ("comparison_narrow", True)):
        save_figure(comparison_figure(_COMPARISON, narrow=narrow), tmp_path / f"{name}.png")
        figures[name] = tmp_path / f"{name}.png"
    read = ["shapes: 360 images, 6 classes (circle, cross) -> 162 train / 90 validation, 64 x 64 pixels, colour"]
    _write(tmp_path / "report.html", document, comparison=_COMPARISON, figures=figures, data=read)
    browser.open(tmp_path / "report.html", width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(CUT) == []
    text = browser.evaluate("document.body.innerText")
    assert read[0] in text
    shown = browser.evaluate("document.querySelector('figure img').currentSrc")
    other = "comparison_narrow" if width < 700 else "comparison"
    assert base64.b64decode(shown.partition(",")[2]) == figures[other].read_bytes()
    labels = browser.evaluate("getComputedStyle(document.querySelector('td[data-of]'), '::before').content")
    assert ("none" in labels) == (width == 1200)  # a cell names its column where the head is not shown
    assert browser.complaints == []
