"""`make gpu`: every open question about a GPU, under any Python from 3.11 that has torch and numpy.

    python tests/gpu/run.py all                         # on the card, into results/gpu
    python tests/gpu/run.py oracle --out DIR            # one part: oracle, speed, large or board
    python tests/gpu/run.py all --device cpu --tiny     # the whole of it on a CPU, in a minute

Nothing is installed and nothing downloaded. Each part takes less than eight minutes and writes one JSON file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PARTS = {"oracle": "oracle", "speed": "ratios", "large": "large", "board": "board"}
"""The module of each part."""


def machine(device: str) -> dict[str, Any]:
    """Where it was measured."""
    import torch

    on_card = torch.device(device).type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_card else platform.processor() or "cpu",
        "memory_gb": torch.cuda.get_device_properties(device).total_memory / 1e9 if on_card else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def main() -> int:
    """Runs the parts asked for; 1 where a check failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=[*PARTS, "all"])
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "results" / "gpu")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, to try the script itself")
    asked = parser.parse_args()
    sys.path[:0] = [str(HERE.parents[1]), str(HERE), str(HERE.parent / "speed")]
    stood_in = importlib.import_module("standins").stand_in()
    from bench.engine.device import check_device
    from bench.errors import UsageError

    try:
        check_device(asked.device)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for part in PARTS if asked.part == "all" else [asked.part]:
        started = time.perf_counter()
        more = {"out": asked.out} if part == "board" else {}
        found = importlib.import_module(PARTS[part]).main(asked.device, asked.tiny, **more)
        took = time.perf_counter() - started
        told = {"part": part, "machine": machine(asked.device), "stood_in": stood_in, "took": took, **found}
        (asked.out / f"{part}.json").write_text(json.dumps(told, indent=1) + "\n")
        failed += len(found["failed"])
        print(f"{part}: {took:.0f} s, {len(found['failed'])} failed{_skipped(found)}")
    return int(failed > 0)


def _skipped(found: dict[str, Any]) -> str:
    rows = [found, *found.get("rows", ())]
    reasons = [f"{row.get('shape', 'all')} skipped: {row['skipped']}" for row in rows if "skipped" in row]
    return "".join(f"; {reason}" for reason in reasons)


if __name__ == "__main__":
    sys.exit(main())
