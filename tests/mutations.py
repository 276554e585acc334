"""Plants deliberate faults, one at a time, and tells which test of their room notices.

    python tests/mutations.py [--only KIND_OR_NUMBER]... [--without-golden] [-j N]

Run on demand. A fault that survives asks for a test beside the feature.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from checkout import ROOT
from faults import FAULTS, KINDS, Fault

GOLDEN = "tests/test_house/test_golden.py"
TESTS = {
    "bench/discovery/": ["test_discovery", "test_methods"],
    "bench/engine/": ["test_engine"],
    "bench/models/": ["test_tracr", "test_models"],
    "bench/scoring/": ["test_scoring", "test_truth"],
    "methods/": ["test_methods"],
    "tasks/": ["test_tasks"],
    "tracr_ground_truth/": ["test_tracr"],
}
"""The folders of a room's tests."""
MINUTES = 20
"""After which a fault that makes tests hang counts as noticed."""


def columns_of(file: str, golden: bool) -> list[str]:
    """The test files of a room, the golden values first."""
    (room,) = (room for room in TESTS if file.startswith(room))
    return [GOLDEN] * golden + [f"tests/{name}" for name in TESTS[room]]


def check(fault: Fault) -> None:
    """Ends the program when the text to be replaced does not stand exactly once in the file."""
    times = (ROOT / fault.file).read_text().count(fault.old)
    if times != 1:
        sys.exit(f"{fault.file}: '{fault.old}' stands there {times} times ({fault.kind}: {fault.what})")


def caught_by(fault: Fault | None, tests: list[str]) -> str | None:
    """The first test that fails on a copy of the tree with a fault in it; None where all pass."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        for name in listed.stdout.splitlines():
            if (ROOT / name).exists():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, copy / name)
        if fault:
            file = copy / fault.file
            file.write_text(file.read_text().replace(fault.old, fault.new))
        # a cache of its own: a fault must neither be hidden by compiled programs nor leave any behind
        own = {"PYTHONPATH": str(copy), "CIRCUITMARK_CACHE": str(copy / "cache"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        try:
            done = subprocess.run(
                command, cwd=copy, env={**os.environ, **own}, capture_output=True, text=True, check=False,
                timeout=60 * MINUTES,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"{MINUTES} minutes"
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", done.stdout, re.MULTILINE)
    if done.returncode and not failed:
        sys.exit(f"pytest ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return failed[1].removeprefix("tests/") if failed else None


@cache
def fails_anyway(test: str) -> bool:
    """Whether a test fails on the tree as it is, so that it notices nothing."""
    return "::" in test and caught_by(None, [f"tests/{test}"]) is not None


def main() -> None:
    """Prints a line per fault; exit code 1 when one survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--only", action="append", default=[], help=f"a number, or one of: {', '.join(KINDS)}"
    )
    parser.add_argument("--without-golden", action="store_true", help="run the room's ordinary tests alone")
    parser.add_argument("-j", type=int, default=1, help="faults at a time")
    options = parser.parse_args()
    chosen = [
        (number, fault)
        for number, fault in enumerate(FAULTS, 1)
        if not options.only or {str(number), fault.kind} & set(options.only)
    ]
    for _, fault in chosen:
        check(fault)

    def report(numbered: tuple[int, Fault]) -> bool:
        number, fault = numbered
        caught = caught_by(fault, columns_of(fault.file, golden=not options.without_golden))
        sound = caught is not None and not fails_anyway(caught)
        told = caught if sound else f"{caught} FAILS WITHOUT THE FAULT" if caught else "SURVIVED"
        print(f"{number:3} {fault.kind:9} {fault.file:31} {fault.what:50} {told}", flush=True)
        return sound

    with ThreadPoolExecutor(options.j) as pool:
        noticed = list(pool.map(report, chosen))
    print(f"{sum(noticed)} of {len(noticed)} faults were noticed")
    sys.exit(0 if all(noticed) else 1)


if __name__ == "__main__":
    main()
