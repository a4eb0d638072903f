"""The notebook of the documentation runs in a kernel of its own, from its first cell to its last."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

from page_blocks import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "learn.ipynb"
# In a process of its own: what it leaves to be collected are warnings here.
EXECUTE = """
import sys
import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

notebook, manager = nbformat.read(sys.argv[1], as_version=4), AsyncKernelManager()
manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
NotebookClient(notebook, km=manager, timeout=600).execute()
nbformat.write(notebook, "done.ipynb")
"""


def test_it_runs_and_shows_progress_policy_and_verdict(tmp_path: Path) -> None:
    line = [sys.executable, "-c", EXECUTE, str(NOTEBOOK)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    notebook = nbformat.read(tmp_path / "done.ipynb", as_version=4)
    learned = _shown(notebook, "result = augrad.learn")
    assert "search 400/400" in learned["text"]
    assert "comparison: 4 policies x 3 seeds x 400 steps" in learned["text"]
    assert "rotate" in learned["html"]
    assert "Better than the best of the others" in learned["html"]
    assert learned["html"].count("<table>") == 2
    assert "image/png" in _shown(notebook, "drawn = policy")["kinds"]
    assert "Policy search on" in (tmp_path / "report.html").read_text("utf-8")
    assert "fade" in _shown(notebook, "def fade")["html"]


def _shown(notebook: Any, words: str) -> dict[str, str]:
    """What the cells with these words have shown: as text, and as HTML."""
    outputs = [output for cell in notebook.cells if words in cell.source for output in cell.get("outputs", [])]
    assert not any(output.output_type == "error" for output in outputs)
    found = [output.get("data", {}) for output in outputs]
    text = [output.get("text", "") for output in outputs] + [data.get("text/plain", "") for data in found]
    html = "".join(data.get("text/html", "") for data in found)
    return {"text": "".join(text), "html": html, "kinds": " ".join(kind for data in found for kind in data)}
