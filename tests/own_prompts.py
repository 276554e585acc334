"""Prompts as a user might bring them, which the embedded model can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAMES = ("Mary", "Peter", "Anna", "Simon", "Kevin", "Laura")


def line(first: str, second: str, other: str = "Helen", **more: Any) -> dict[str, Any]:
    """Whose answer is the first name."""
    start = f"After {first} and {second} had walked to the park,"
    return {
        "clean": f"{start} {second} handed the ball to",
        "corrupted": f"{start} {other} handed the ball to",
        "answers": [f" {first}"], "wrong": [f" {second}"], **more,
    }  # fmt: skip


LINES = [line(a, b) for a in NAMES for b in NAMES if a != b]


def write(file: Path, *lines: Any) -> Path:
    """A line for each: bytes or text as they stand, the rest as JSON."""
    told = (each if isinstance(each, str) else json.dumps(each) for each in lines or LINES)
    file.write_text("".join(f"{each}\n" for each in told))
    return file
