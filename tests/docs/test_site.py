"""The documentation site: it builds without a warning, asks nothing of other hosts, and has every public name."""

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import augrad
from page_blocks import ROOT

pytestmark = pytest.mark.slow

FETCHED = {"src", "srcset", "data", "poster", "action", "formaction"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install -c constraints.txt '.[docs]'")
    place = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "true", "PYTHONPATH": str(ROOT / "lib")}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


class Page(HTMLParser):
    """What a page loads (`fetched`), where it leads to (`links`), and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in FETCHED or (name == "href" and tag != "a"):
                self.fetched += [] if value is None else [value]
            elif name == "href":
                self.links.append(value or "")
            elif name in ("id", "name"):
                self.anchors.add(value or "")


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def targets(pages: dict[Path, Page]) -> Iterator[tuple[Path, str]]:
    for path, page in pages.items():
        for target in (*page.fetched, *page.links):
            yield path, target


def test_no_page_refers_to_another_host(pages: dict[Path, Page]) -> None:
    assert len(pages) > 20
    foreign = [(path.name, target) for path, target in targets(pages) if re.match(r"(?:\w+:)?//", target)]
    assert foreign == []


def test_no_stylesheet_loads_from_another_host(site: Path) -> None:
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        found = re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\s\"')]+)", sheet.read_text(encoding="utf-8"))
        assert found == [], sheet.name


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, target in targets(pages):
        url = urlsplit(target)
        if path.name == "404.html" or url.scheme in ("data", "javascript"):
            continue
        leads_to = (path.parent / unquote(url.path)).resolve() if url.path else path
        if not leads_to.is_file() or (
            leads_to in pages and url.fragment and unquote(url.fragment) not in pages[leads_to].anchors
        ):
            broken.append((str(path.relative_to(site)), target))
    assert broken == []


def public_names() -> Iterator[str]:
    """What `augrad` and the modules among its public names say that they have."""
    for name in augrad.__all__:
        value = getattr(augrad, name)
        if inspect.ismodule(value):
            inner_names = getattr(value, "__all__", None) or ("names", "get", *augrad.ops.names())
            yield from (f"augrad.{name}.{inner}" for inner in inner_names)
        elif not name.startswith("__"):
            yield f"augrad.{name}"


def test_every_public_name_is_documented(pages: dict[Path, Page]) -> None:
    anchors = set().union(*(page.anchors for page in pages.values()))
    assert [name for name in public_names() if name not in anchors] == []
