"""Every command of README and docs is run as it stands, or listed with the reason why not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from doc_pages import README, blocks, commands, example

NOT_RUN = {
    "new-method NAME": "stands for a name of the user's",
    "run": "is a mention, not a call",
    "check careless.py --problem llama": "stands for a careless adapter; tests have many",
    "run --model path/to/a/model -t gp --sizes 1%,5% --out theirs": "stands for a user's own model",
    "run --config configs/default.yaml --model path/to/a/model --sizes 0.5%,1%,2%,5% --out theirs": (
        "stands for a user's own model"
    ),
    "run -t prompts.jsonl -m eap": "stands for a user's own prompts",
    "score circuit.pt -t ioi": "stands for a user's own circuit",
    "task check agreement --model smollm2-135m": "needs that model",
    "run -t my_task.py": "stands for a task of the user's own",
    "convert CIRCUIT OUT --model MODEL --kv per_group": "stands for a user's own circuit",
    "rescore RESULTS": "stands for a user's own folder",
    "compare RESULTS": "stands for a user's own folder",
    "compare RESULTS --variance": "stands for a user's own folder",
    "run --quick": "takes two minutes; with fewer tasks the wheel's test runs it",
    "run -m eap_ig:steps=10 -t ioi --sizes 5%": "is the README's with less",
    "run -m eap_ig:steps=20 -m acdc -t gp --sizes 0.6%,1.4% --out first": "takes minutes, for ACDC's sake",
    "run --config configs/default.yaml --out results": "is what `make leaderboard` runs",
    "verify-tracr -j 2": "takes long; `make verify` proves all programs",
    "verify-tracr -j 2 --quick": "takes minutes; `make leaderboard` runs it, of some methods",
    "verify-tracr -m my_method.py -p x_proportion -p reverse --json": "is run with a shipped method",
    "verify-tracr --method-seeds 2 -j 2 --out fresh": "takes an hour",
    "verify-tracr --method-seeds 2 -j 2 --out fresh --expect": "takes hours, and rewrites expectations",
    "run --config configs/claims/zero.yaml --model smollm2-135m --out zero": "needs that model, and hours",
    "verify-tracr -m edge_pruning -p x_proportion -p reverse --method-seeds 8 --out zero": "takes minutes",
    "models fetch smollm2-135m": "needs a network; a test fetches from a server of its own",
    "run --scheduler tcp://HOST:8786 --out results": "stands for a user's own cluster",
    "run --scheduler local:2 --out results": "takes half an hour; with less it is run by tests of its own",
    "run --config configs/smollm2.yaml -j 2 --out smollm2": "needs that model, and hours",
}

LONG = ("run --model tracr:reverse", "run -m my_method.py:damping=0.3 -m eap -t gp",
        "verify-tracr -p my_program.py:previous", "verify-tracr -m eap_ig -p reverse --json")  # fmt: skip
"""Of README's, minutes each: CI leaves them to the tests of what they do."""
FILES = dict.fromkeys(
    ("README.md", "programs.md", "architecture.md", "methods.md"), ("my_method.py", "my_program.py")
)
"""Examples of README that a page's commands name; one page makes its own."""


def pages() -> dict[Path, list[str]]:
    """The commands that are run of each page: each where it stands first, and all of the tutorial."""
    lines = dict.fromkeys((page, " ".join(words)) for page, _, words in commands())
    found: dict[Path, list[str]] = {page: [] for page, _ in lines}
    done: set[str] = set()
    for page, line in lines:
        if line not in NOT_RUN and (line not in done or page.name == "tutorial.md"):
            found[page].append(line)
            done.add(line)
    return {page: wanted for page, wanted in found.items() if wanted}


BRIEFLY = [
    f"{line} --quick" if line.startswith("run ") else line for line in pages()[README] if line not in LONG
]
"""README's commands in CI."""


def test_what_is_not_run_stands_on_a_page() -> None:
    assert NOT_RUN.keys() <= {" ".join(words) for _, _, words in commands()}


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        pytest.param(README, BRIEFLY, marks=pytest.mark.slow),
        *(pytest.param(page, lines, marks=pytest.mark.every) for page, lines in pages().items()),
    ],
    ids=["README.md in CI", *(page.name for page in pages())],
)
def test_every_command_is_run_or_listed(page: Path, lines: list[str], tmp_path: Path) -> None:
    """A page's commands in order, so that later ones find what earlier ones wrote.

    What a page shows as JSON is the file circuit.json.
    """
    for name in FILES.get(page.name, ()):
        (tmp_path / name).write_text(example(README, name))
    for script in re.findall(r"^\$ python (\w+\.py)$", page.read_text(), re.M):
        (tmp_path / script).write_text(example(page, script))
        subprocess.run([sys.executable, script], cwd=tmp_path, check=True)
    for block in blocks(page):
        if block.language == "json":
            (tmp_path / "circuit.json").write_text(block.text)
    for line in lines:
        command = [sys.executable, "-m", "circuitmark", *line.split()]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{line}: {run.stderr}"
        assert run.stdout, line
