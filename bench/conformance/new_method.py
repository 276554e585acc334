"""`circuitmark new-method`: an adapter to start from, that runs as it is, and its test."""

from __future__ import annotations

import importlib.util
import keyword
from datetime import date
from importlib import resources
from pathlib import Path

from bench.errors import UsageError
from bench.files import write_atomically
from bench.names import METHODS

TEMPLATES = {"{name}.py": "method.py.txt", "test_{name}.py": "test_method.py.txt"}


def new_method(name: str, folder: Path) -> list[Path]:
    """Writes an adapter and its test.

    Raises:
        UsageError: the name is no name for a module, or taken; a file is there already.
    """
    files = {folder / path.format(name=name): template for path, template in TEMPLATES.items()}
    for file in files:
        if file.exists():
            raise UsageError(f"{file} is there already, and is not written over")
    _refuse(name)
    class_name = "".join(part.capitalize() for part in name.split("_"))
    words = {"METHOD_NAME": name, "CLASS_NAME": class_name, "YEAR": str(date.today().year)}
    for file, template in files.items():
        text = (resources.files("bench.conformance") / "templates" / template).read_text(encoding="utf-8")
        for word, meant in words.items():
            text = text.replace(word, meant)
        write_atomically(file, text.encode())
    return list(files)


def _refuse(name: str) -> None:
    """Holds a name to being fit for a method and for its file.

    Raises:
        UsageError: it is not.
    """
    if not (name.isidentifier() and name.isascii() and name.islower()) or keyword.iskeyword(name):
        raise UsageError(f"'{name}' is no name for a method: write small letters, digits and _, as my_method")
    if name.startswith("_"):
        raise UsageError(f"'{name}' is no name for a method: leave the _ before it out")
    if name.startswith("test_"):
        raise UsageError(f"'{name}' is a name for a test: leave test_ out")
    if name in METHODS.names():
        raise UsageError(f"there is a method named '{name}' already: choose another name")
    if importlib.util.find_spec(name) is not None:
        raise UsageError(f"{name}.py would hide the module '{name}' that is installed: choose another name")
