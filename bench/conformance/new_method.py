"""`circuitmark new-method`: a method to start from, which runs as it is, and its test."""

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
        UsageError: the name is not valid for a module, or is taken; a file already exists.
    """
    files = {folder / path.format(name=name): template for path, template in TEMPLATES.items()}
    for file in files:
        if file.exists():
            raise UsageError(f"{file} already exists and is not overwritten: choose another name")
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
    """Refuses a name that does not fit a method or its file.

    Raises:
        UsageError: it does not fit.
    """
    if not (name.isidentifier() and name.isascii() and name.islower()) or keyword.iskeyword(name):
        raise UsageError(
            f"'{name}' cannot be a method's name: use lowercase letters, digits and _, as in my_method"
        )
    if name.startswith("_"):
        raise UsageError(f"'{name}' cannot be a method's name: leave out the _ at its start")
    if name.startswith("test_"):
        raise UsageError(f"'{name}' would be taken for a test: leave out test_")
    if name in METHODS.names():
        raise UsageError(f"a method named '{name}' already exists: choose another name")
    if importlib.util.find_spec(name) is not None:
        raise UsageError(f"{name}.py would hide the installed module '{name}': choose another name")
