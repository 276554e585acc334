"""Turns pytest-benchmark's report into results/bench.json, one small object per operation."""

from __future__ import annotations

import json
import sys
from pathlib import Path

FIELDS = ("name", "shape", "ratio", "seconds", "peak_mb", "plain_seconds", "hf_attention")


def main(raw: Path, out: Path) -> None:
    """Writes the list and prints it as a table."""
    report = json.loads(raw.read_text())
    rows = [{field: entry["extra_info"][field] for field in FIELDS} for entry in report["benchmarks"]]
    out.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"{'operation':26}{'shape':8}{'plain forwards':>16}{'seconds':>10}{'peak MB':>10}")
    for row in rows:
        print(
            f"{row['name']:26}{row['shape']:8}{row['ratio']:16.2f}{row['seconds']:10.3f}{row['peak_mb']:10}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
