"""Renews tests/golden.json: only together with a bump of NUMERICS, and saying why in the changelog."""

from __future__ import annotations

import json

import golden

if __name__ == "__main__":
    golden.FILE.write_text(json.dumps(golden.compute(), indent=1) + "\n")
