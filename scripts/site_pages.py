"""A hook of MkDocs: pages that lie elsewhere in the repository (`extra.elsewhere` of mkdocs.yml), and their links.

A link in a page is written as it works in the repository. In the site it leads to the page that the file has become, to
a copy of a picture, and where the site has neither, its text stands alone.
"""

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^(`{3,}).*?^\1[ ]*$", re.DOTALL | re.MULTILINE)
_PICTURES = (".png", ".svg", ".jpg", ".gif")
_ABSOLUTE = re.compile(r"[a-z]+:|/")


def _root(config: Any) -> Path:
    return Path(config.config_file_path).resolve().parent


def _links(markdown: str) -> list[re.Match[str]]:
    """The links outside code blocks to other files of the repository."""
    blocks = [match.span() for match in _FENCE.finditer(markdown)]
    return [
        match
        for match in _LINK.finditer(markdown)
        if match[3] and not _ABSOLUTE.match(match[3]) and not any(a <= match.start() < b for a, b in blocks)
    ]


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages, in place of where they lie among the others, and the pictures that they show."""
    root = _root(config)
    for place, source in config.extra["elsewhere"].items():
        path = root / source
        if not path.is_file():
            raise PluginError(f"mkdocs.yml: extra.elsewhere: {place}: there is no file {source}; name its new place")
        for file in [file for file in files if file.abs_src_path and Path(file.abs_src_path) == path]:
            files.remove(file)
        files.append(File.generated(config, place, abs_src_path=str(path)))
        for link in _links(path.read_text(encoding="utf-8")):
            picture = Path(os.path.normpath(path.parent / link[3]))
            shown = posixpath.normpath(posixpath.join(posixpath.dirname(place), link[3]))
            known = any(file.abs_src_path and Path(file.abs_src_path) == picture for file in files)
            if picture.suffix in _PICTURES and picture.is_file() and not known:
                files.append(File.generated(config, shown.replace("../", ""), abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links lead to where the files are in the site."""
    source = Path(page.file.abs_src_path).resolve()
    places = {Path(file.abs_src_path).resolve(): file.src_uri for file in files if file.abs_src_path}
    root, here = _root(config), posixpath.dirname(page.file.src_uri)
    for link in reversed(_links(markdown)):
        picture, text, target, anchor = link[1], link[2], link[3], link[4] or ""
        path = (source.parent / target).resolve()
        if path in places:
            new = f"{picture}[{text}]({posixpath.relpath(places[path], here or '.')}{anchor})"
        elif path.exists() and path.is_relative_to(root):
            new = text
        else:
            continue  # MkDocs says that it leads nowhere
        markdown = markdown[: link.start()] + new + markdown[link.end() :]
    return markdown
