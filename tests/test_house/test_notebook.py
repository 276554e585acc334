"""A real notebook, in a folder whose files bear our rooms' names."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

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


def test_a_study_in_a_notebook(tmp_path: Path) -> None:
    """A method of a cell runs; circuits are drawn, tables are shown, one warning names what is hidden."""
    (tmp_path / "methods").mkdir()
    for name in ("methods/__init__.py", "tasks.py", "reports.py"):
        (tmp_path / name).write_text("raise SystemExit('a stranger was imported')\n")
    notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS]  # type: ignore[no-untyped-call]
    )
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    first, _, circuit, table = (cell["outputs"] for cell in notebook.cells)
    warnings = "".join(output.get("text", "") for output in first)
    assert warnings.count("UserWarning") == 1
    for name in ("methods", "tasks", "reports"):
        assert f"{name} ({tmp_path}" in warnings
    assert "15 of 1,519 edges" in circuit[0]["data"]["text/html"]
    assert "data:image/svg+xml" in circuit[0]["data"]["text/html"]
    shown = table[-1]["data"]["text/html"]
    assert all(f"<td>{row}</td>" in shown for row in ("0.01", "0.05", "full", "empty", "random"))
    assert {path.name for path in tmp_path.iterdir()} == {"methods", "tasks.py", "reports.py"}
