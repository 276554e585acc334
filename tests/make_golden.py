"""Renews the golden values, which makes every stored result stale: the changelog says why."""

from __future__ import annotations

import json

import golden
from bench.store.keys import golden_file

if __name__ == "__main__":
    numbers = {name: each for part in golden.PARTS for name, each in golden.compute(part).items()}
    golden_file().write_text(json.dumps(numbers, indent=0) + "\n")
