"""A real notebook, in a folder whose files bear our rooms' names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from doc_pages import README, blocks, file_of

STRANGERS = ("methods/__init__.py", "tasks.py", "reports/__init__.py")
CELLS = (
    "import circuitmark as cm\nstudy = cm.Study('embedded', 'gp', n_discovery=20, n_evaluation=20)",
    "class Mine(cm.Method):\n"
    "    name, description, citation = 'mine', 'EAP, by hand', '@misc{me}'\n"
    "    def discover(self, problem):\n"
    "        scores = sum(problem.edge_gradients(batch, 'difference') for batch in problem.batches)\n"
    "        return cm.Discovery(scores=scores.abs())\n"
    "found = study.discover(Mine, ['1%', '5%'])",
    "found[0.01]",
    "study.evaluate(found, random_draws=2)",
)


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A folder with files that bear our rooms' names."""
    (tmp_path / "methods").mkdir()
    (tmp_path / "reports").mkdir()
    for name in STRANGERS:
        (tmp_path / name).write_text("raise SystemExit('a stranger was imported')\n")
    return tmp_path


def run(cells: Sequence[str], folder: Path) -> list[Any]:
    """The cells' outputs."""
    notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]  # type: ignore[no-untyped-call]
    )
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell["outputs"] for cell in notebook.cells]


def test_a_study_in_a_notebook(crowded: Path) -> None:
    """A method of a cell runs; circuits are drawn, tables are shown, one warning names what is hidden."""
    first, _, circuit, table = run(CELLS, crowded)
    warnings = "".join(output.get("text", "") for output in first)
    assert warnings.count("UserWarning") == 1
    for room in ("methods", "tasks", "reports"):
        assert f"{room} ({crowded}" in warnings
    assert "15 of 1,519 edges" in circuit[0]["data"]["text/html"]
    assert "data:image/svg+xml" in circuit[0]["data"]["text/html"]
    shown = table[-1]["data"]["text/html"]
    assert all(f"<td>{row}</td>" in shown for row in ("0.01", "0.05", "full", "empty", "ones", "random"))
    assert {path.name for path in crowded.iterdir()} == {"methods", "tasks.py", "reports"}


@pytest.mark.every
def test_the_notebook_of_the_readme(crowded: Path) -> None:
    """As it stands, beside the same strangers."""
    (cell,) = [b.text for b in blocks(README) if b.language == "python" and file_of(b) is None]
    (outputs,) = run([cell], crowded)
    assert "random_edges" in outputs[-1]["data"]["text/html"]
