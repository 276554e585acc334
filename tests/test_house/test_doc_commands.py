"""Every command of README and docs is run as it stands, or listed with the reason why not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ROOT
from doc_pages import README, commands, example

NOT_RUN = {
    "run": "is a mention, not a call",
    "run --model path/to/a/model -t gp": "stands for a user's own model",
    "rescore RESULTS": "stands for a user's own folder",
    "run --quick": "takes two minutes; with fewer tasks the wheel's test runs it",
    "run -m eap_ig:steps=10 -t ioi --sizes 5%": "is the README's with less",
    "run -m eap_ig:steps=20 -m acdc -t gp --sizes 1%,5% --out first": "takes minutes, for ACDC's sake",
    "run --config configs/default.yaml --out results": "is what `make leaderboard` runs",
    "verify-tracr -j 2": "is what `make leaderboard` runs",
    "verify-tracr -m my_method.py -p x_proportion -p reverse --json": "is run with a shipped method",
    "verify-tracr --method-seeds 2 -j 2 --out fresh": "takes an hour",
    "verify-tracr --method-seeds 2 -j 2 --out fresh --expect": "takes hours, and rewrites expectations",
    "models fetch smollm2-135m": "needs a network; a test fetches from a server of its own",
    "run --config configs/smollm2.yaml -j 2 --out smollm2": "needs that model, and a quarter of an hour",
}


@pytest.mark.slow
def test_every_command_is_run_or_listed(tmp_path: Path) -> None:
    """In the order of the pages, in one folder, so that later ones find what earlier ones wrote."""
    for name in ("my_method.py", "my_program.py"):
        (tmp_path / name).write_text(example(README, name))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    lines = dict.fromkeys(" ".join(words) for _, words in commands())
    assert NOT_RUN.keys() <= lines.keys(), "what is listed stands on a page"
    for line in lines:
        if line not in NOT_RUN:
            command = [sys.executable, "-m", "circuitmark", *line.split()]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}: {done.stderr}"
            assert done.stdout, line
