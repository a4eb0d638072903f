"""The page of a policy: in a browser, on a desk and on a phone, and as the file that it is."""

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from augrad import Policy, ops
from augrad.data.examples import Examples, photographs
from augrad.ops.definition import Definition
from augrad.policy_file import Entry, PolicyDocument, SubPolicy, UniformUpTo, Value, parse_policy
from augrad.policy_file.convert import document_of, policy_from_document, read_document
from augrad.show.policy_page import write_policy_page
from augrad.show.tracks import levels_of, track_of
from augrad.show.words import policy_rows
from browser import CUT, Browser
from odd_policies import ODD

Make = Callable[..., Entry]
_EVIL = (
    "</pre></title></style><script>console.log('run')</script><img src=x onerror=console.log(1)>\"'&\u202e\x07{{ 7*7 }}"
)


def _write(path: Path, document: PolicyDocument, pictures: Examples | None = None, **options: Any) -> str:
    policy = None if document.definitions else policy_from_document(document)
    name = options.pop("name", "mine.json")
    write_policy_page(path, name, document, policy, pictures or photographs(), **options)
    return path.read_text("utf-8")


def _perturbed(policy: Policy, seed: int) -> Policy:
    """As a search leaves it: all logits, locations and scales somewhere else."""
    generator = torch.Generator().manual_seed(seed)

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        return (tensor + torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)).detach()

    return policy.with_params(policy.params.map(moved))


def _learned(subpolicies: int = 1, stages: int = 2, names: int | None = None, **options: Any) -> PolicyDocument:
    policy = Policy.over(list(ops.names())[:names], subpolicies=subpolicies, stages=stages, **options)
    data = {"name": "digits", "sha256": "0123456789abcdef" * 4}
    provenance = {"created": "2026-01-02T03:04:05+00:00", "seed": 3, "data": data, "metrics": {"test_accuracy": 0.955}}
    return document_of(_perturbed(policy, 0), {**provenance, "config": {"search": {"steps": 1000}}, "git": None})


@pytest.fixture
def evil() -> PolicyDocument:
    """A document that says in every place what would be HTML, and names that are as long as they can be."""
    name = f"mypackage.{'a' * 90}_{'b' * 90}.f"
    entry = Entry(op=name, unit="factor", magnitude=Value(value=0.5), weight=1.0)
    return PolicyDocument(
        interpolation="nearest",
        fill=0.5,
        definitions={name: Definition(low=0.0, high=1.0, unit="factor")},
        subpolicies=(SubPolicy(weight=1.0, stages=((entry,),)),),
        provenance={
            _EVIL: _EVIL,
            "paper": _EVIL,
            "data": {"name": [_EVIL, {"a": _EVIL}]},
            "config": {_EVIL: ["x" * 999]},
        },
    )


# --- in a browser -----------------------------------------------------------------------------------------------------


def _documents(request: pytest.FixtureRequest, name: str) -> PolicyDocument:
    match name:
        case "learned":
            return _learned()
        case "several":
            return _learned(3, magnitude="uniform", fill=0.5)
        case "evil":
            return request.getfixturevalue("evil")
        case "ragged" | "far out" | "weight 0 of a sub-policy":
            return parse_policy(json.dumps(ODD[name]))
    return read_document(name)


@pytest.mark.parametrize("width", [320, 390, 1200])
@pytest.mark.parametrize(
    "name", ["dada_cifar10", "randaugment", "identity", "learned", "several", "evil", "ragged", "far out"]
)
def test_in_a_browser_nothing_is_cut_and_nothing_fails(
    name: str, width: int, browser: Browser, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    document = _documents(request, name)
    page = tmp_path / "page.html"
    _write(page, document)
    browser.open(page, width, dark=width == 390)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(CUT) == []
    text = browser.evaluate("document.body.innerText")
    for row in policy_rows(document)[:10]:
        assert row.op.rpartition(".")[2] in text
        assert row.magnitude in text
    images = "[...document.images]"
    assert browser.evaluate(f"{images}.every(image => image.complete && image.naturalWidth > 0)")
    assert browser.evaluate(f"{images}.length") > 0 or name in ("identity", "evil")
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.as_uri()]


def test_in_a_browser_by_day_and_by_night(browser: Browser, tmp_path: Path) -> None:
    _write(tmp_path / "page.html", read_document("randaugment"))
    seen = []
    for dark in (False, True):
        browser.open(tmp_path / "page.html", 390, dark)
        browser.screenshot(tmp_path / "seen.png")
        pixels = np.asarray(Image.open(tmp_path / "seen.png").convert("L"))
        assert pixels.shape[1] == 390
        seen.append(np.median(pixels))
    assert seen[0] > 240
    assert seen[1] < 40


def test_in_a_browser_bars_are_where_the_magnitudes_are(browser: Browser, tmp_path: Path) -> None:
    _write(tmp_path / "page.html", read_document("dada_cifar10"))
    browser.open(tmp_path / "page.html", 1200)
    place = """(() => {
      const line = [...document.querySelectorAll(".sub li")].find(one => one.innerText.includes("±6.8% of the side"));
      const box = one => one.getBoundingClientRect();
      const track = box(line.querySelector(".track"));
      const middle = one => box(one).left + box(one).width / 2;
      return [...line.querySelectorAll(".track b")].map(one => (middle(one) - track.left) / track.width)
        .concat(box(line.querySelector(".meter i")).width / box(line.querySelector(".meter")).width);
    })()"""
    value = next(e for e in read_document("dada_cifar10").entries() if e.op == "translate_x")
    assert isinstance(value.magnitude, Value)
    side = value.magnitude.value / 0.45 / 2
    assert browser.evaluate(place) == pytest.approx([0.5 - side, 0.5 + side, value.probability], abs=0.005)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_what_a_user_wrote_stays_text(tmp_path: Path, evil: PolicyDocument) -> None:
    html = _write(tmp_path / "page.html", evil, name=_EVIL)
    assert "<script" not in html
    assert "onerror=console" not in re.sub(r"&lt;.*?&gt;", "", html)
    assert "&lt;script&gt;" in html
    assert "{{ 7*7 }}" in html
    assert "\u202e" not in html
    assert "\x07" not in html


def test_nothing_is_fetched(tmp_path: Path) -> None:
    html = _write(tmp_path / "page.html", read_document("dada_cifar10"))
    assert set(re.findall(r'(?:src|href)="([^:]*:[^;]*);', html)) == {"data:image/jpeg"}
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html


def test_the_same_page_is_the_same_file(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    first, second = (_write(tmp_path / name, _learned()) for name in ("a.html", "b.html"))
    assert first == second
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(("subpolicies", "folded"), [(1, ""), (25, ""), (150, "25 more sub-policies")])
def test_a_page_stays_usable(subpolicies: int, folded: str, tmp_path: Path) -> None:
    document = _learned(subpolicies, names=8)
    html = _write(tmp_path / "page.html", document)
    assert len(html) < 2_500_000
    assert folded in html
    shown = html.count('<div class="chance">')
    assert shown <= 600
    left_out = re.search(r"(\d+) more sub-policies are in the policy file", html)
    assert shown // 12 + (int(left_out[1]) if left_out else 0) == subpolicies


def test_everything_is_shown_if_asked_for(tmp_path: Path) -> None:
    html = _write(tmp_path / "page.html", _learned(60, stages=1, names=14), everything=True)
    assert html.count('<div class="chance">') == 60 * 14
    assert "are in the policy file" not in html


def test_facts_of_the_search(tmp_path: Path) -> None:
    html = _write(tmp_path / "page.html", _learned())
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html))
    assert facts["created"] == "2026-01-02T03:04:05+00:00"
    assert facts["data name"] == "digits"
    assert facts["metrics test accuracy"] == "95.5%"
    assert "git" not in facts
    assert not any("steps" in fact for fact in facts)
    assert "&#34;steps&#34;: 1000" in html


def test_a_large_provenance_is_cut(tmp_path: Path) -> None:
    odd = {"notes": {f"{index}": "n" * 1000 for index in range(2000)}, "list": list(range(100_000))}
    document = read_document("identity").model_copy(update={"provenance": odd})
    html = _write(tmp_path / "page.html", document)
    assert len(html) < 300_000
    assert "the rest is in the policy file" in html


def _pictures(html: str, title: str) -> list[tuple[str, np.ndarray]]:
    """Caption and pixels of the pictures of an operation."""
    part = html.split(f'<h3 title="{title}">')[1].split('<div class="example">')[0].split("</section>")[0]
    found = re.findall(r'<img src="data:image/\w+;base64,([^"]*)" alt="([^"]*)">', part)
    return [(alt, np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)) for data, alt in found]


def test_pictures_are_what_the_operation_makes_of_them(tmp_path: Path, entry: Make) -> None:
    stage = (entry("brightness", UniformUpTo(low=0.0, high=0.9, location=1e6, scale=0.0)),)  # even, from 0 to 0.9
    document = PolicyDocument(interpolation="bilinear", fill=0.0, subpolicies=(SubPolicy(weight=1.0, stages=(stage,)),))
    image = torch.randint(60, 130, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    html = _write(tmp_path / "page.html", document, Examples(image, ("mine.png",)))
    pictures = _pictures(html, "brightness")
    assert [caption for caption, _ in pictures] == [
        *("original", "low 1.09", "middle 1.45", "high 1.81"),
        *("low 0.91", "middle 0.55", "high 0.19"),
    ]
    original = image[0].permute(1, 2, 0).numpy()
    assert np.array_equal(pictures[0][1], original)  # small pictures are exact
    for (_, pixels), factor in zip(pictures[1:], (1.09, 1.45, 1.81, 0.91, 0.55, 0.19), strict=True):
        assert np.abs(pixels - np.clip(original * factor, 0, 255)).max() <= 2
    assert "image-rendering: pixelated" in html
    assert "Low, middle and high" in html


def test_an_operation_in_several_places_is_shown_as_images_meet_it() -> None:
    document = read_document("dada_cifar10")
    rows = [row for row in policy_rows(document) if row.op == "brightness"]
    levels = levels_of(rows, {})
    values = sorted(row.entry.magnitude.value for row in rows)  # type: ignore[union-attr]
    assert not levels.signed
    assert levels.values["low"] == values[0] < 0 < values[-1] == levels.values["high"]
    turned = levels_of([row for row in policy_rows(document) if row.op == "rotate"], {})
    assert turned.signed
    assert min(turned.values.values()) > 0
    assert levels_of([row for row in policy_rows(document) if row.op == "invert"], {}).values == {}


def test_bars_of_every_operation_end_where_its_range_ends(entry: Make) -> None:
    for name in ops.names():
        op = ops.get(name)
        if op.low is None or op.high is None:
            continue
        track = track_of(entry(name, Value(value=op.high)), {})
        assert track is not None
        assert track.medians == ((0.0, 100.0) if op.signed else (100.0,))
        assert track.still == (50.0 if op.signed else None)
    beyond = track_of(entry("translate_x", Value(value=0.9)), {})
    assert beyond is not None
    assert beyond.ends == ("−90%", "90%")


def test_operations_that_are_not_allowed_have_no_pictures(tmp_path: Path) -> None:
    stage = (
        Entry(op="nowhere.ops.gamma", unit="factor", magnitude=Value(value=0.5), weight=0.5),
        Entry(op="invert", weight=0.5),
    )
    document = PolicyDocument(
        interpolation="bilinear",
        fill=0.0,
        definitions={"nowhere.ops.gamma": Definition(low=0.0, high=1.0, unit="factor")},
        subpolicies=(SubPolicy(weight=1.0, stages=(stage,)),),
    )
    html = _write(tmp_path / "page.html", document)
    reason = "nowhere.ops.gamma would run code from elsewhere, which is imported only where you allow it"
    assert html.count(reason) == 2  # of the whole policy, and of this operation
    assert "--allow nowhere.ops" in html
    assert "Low, middle and high" not in html
    assert [caption for caption, _ in _pictures(html, "invert")] == ["original", "applied"] * 2


def test_odd_policies_have_pages(tmp_path: Path) -> None:
    """Every odd document has a page, with a row for every operation."""
    for name, content in ODD.items():
        document = parse_policy(json.dumps(content))
        html = _write(tmp_path / "page.html", document)
        assert html.count('<div class="chance">') == len(list(document.entries())), name
