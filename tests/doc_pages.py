"""README and the pages of docs: their blocks, examples and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from checkout import ROOT

README = ROOT / "README.md"
PAGES = (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")),
         *sorted((ROOT / "docs" / "methods").glob("*.md")))  # fmt: skip
FILES = {
    "README.md": {"my_method.py": "Method", "my_program.py": "@program"},
    "tasks.md": {"task": "Task)"},
    "your-own-prompts.md": {"make_prompts.py": "WORDINGS"},
}
"""Examples that are files of their own, by page, each with a word that tells it from the others. They have
tests of their own; every other example is run as a notebook."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.S | re.M)
    return [Block(page, language, text) for language, text in found]


def example(page: Path, name: str) -> str:
    """The one example of a page that is this file."""
    (text,) = [block.text for block in blocks(page) if file_of(block) == name]
    return text


def file_of(block: Block) -> str | None:
    """The name of the file that a Python block shows; None where it is a notebook's cell."""
    named = FILES.get(block.page.name, {})
    found = [name for name, word in named.items() if block.language == "python" and word in block.text]
    return found[0] if found else None


def commands() -> Iterator[tuple[Path, str, list[str]]]:
    """Every call of `circuitmark` in a fenced block or between backticks: page, line, words.

    Where a block has prompts the other lines are what was printed.
    """
    for page in PAGES:
        lines = re.findall(r"`(circuitmark [^`]+)`", page.read_text())
        for block in blocks(page):
            if not block.language:
                typed = block.text.replace("\\\n", " ").splitlines()
                prompted = [line.removeprefix("$ ") for line in typed if line.startswith("$ ")]
                lines += prompted or typed
        for line in lines:
            called = re.search(r"(?:^|[\s/])circuitmark (.*)", line.partition(" #")[0])
            if called:
                yield page, line, shlex.split(called[1])
