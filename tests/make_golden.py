"""Renews tests/golden.json: with a bump of NUMERICS, saying why in the changelog, or for a new metric."""

from __future__ import annotations

import json

import golden

if __name__ == "__main__":
    golden.FILE.write_text(json.dumps(golden.compute(), indent=1) + "\n")
