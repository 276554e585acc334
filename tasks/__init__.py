"""Tasks: pairs of clean and corrupted prompts, for any tokenizer. A leaf: imports no other room."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from tasks.base import Examples, Split, Task, TaskError, Tokenizer

__all__ = ["Examples", "Split", "Task", "TaskError", "Tokenizer", "find_tasks"]


def find_tasks() -> dict[str, type[Task]]:
    """All tasks in this folder by name, sorted: a new file is found without registering it."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    members = [cls for module in modules for _, cls in inspect.getmembers(module, inspect.isclass)]
    found = {cls.name: cls for cls in members if issubclass(cls, Task) and "name" in vars(cls)}
    return dict(sorted(found.items()))
