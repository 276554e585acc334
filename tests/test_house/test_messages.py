"""What messages may not advise."""

from __future__ import annotations

import ast
import re

import pytest

from checkout import ROOT
from conftest import ROOMS

ADVICE = re.compile(r"\b(delete|remove|erase|unlink|wipe|discard|rm)\b", re.IGNORECASE)


def strings(tree: ast.AST) -> list[tuple[int, str]]:
    """The texts of a module, each with its line; without docstrings, which nobody is shown."""
    documented = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documented
    ]


@pytest.mark.parametrize("room", [*ROOMS, "circuitmark"])
def test_no_message_advises_to_delete(room: str) -> None:
    """What lies in a folder is its owner's, and may be all that there is of it."""
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    advised = [
        f"{file.relative_to(ROOT)}:{line}: {text}"
        for file in files
        for line, text in strings(ast.parse(file.read_text()))
        if ADVICE.search(text)
    ]
    assert advised == []


@pytest.mark.parametrize(
    "text", ["f'{path} is damaged: delete it'", "'''x; rm -r y'''", "'Remove the folder'"]
)
def test_advice_is_noticed(text: str) -> None:
    assert any(ADVICE.search(told) for _, told in strings(ast.parse(f"raise ValueError({text})")))
