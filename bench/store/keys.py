"""When a stored result is stale: the one place that says what determines a result.

Code counts by its syntax trees, without comments, docstrings and layout: a method, a task or a program with
all that it imports from the leaves or from its own folder. The engine counts by the numbers that it returns
(`golden.json`, which a test checks), so that rewriting it makes nothing stale and a number that moves makes
everything stale. Data and models count by their content.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import json
import threading
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracr_ground_truth.program import Program

LEAVES = ("methods", "tasks", "tracr_ground_truth")
READABLE = 150
"""Bytes of a file's name that describe what it holds."""
_PARSING = threading.Lock()
COMPILER = ("compile.py", "data.py")
"""The files of `tracr_ground_truth` that make a program's weights and data."""


def key_of(parts: Any) -> str:
    """A short hash of plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def readable(name: str) -> str:
    """The beginning of a name that describes what a file holds: file systems take 255 bytes in all."""
    return name.encode()[:READABLE].decode(errors="ignore")


def golden_file() -> Path:
    """The numbers that the engine returns on small problems."""
    return Path(str(resources.files("bench.store") / "golden.json"))


@lru_cache
def engine() -> str:
    """A hash of the engine's numbers."""
    return key_of(json.loads(golden_file().read_text(encoding="utf-8")))


def code_of(*files: Path) -> str:
    """A hash of files and of what they import: from our leaves and, unless ours, from their own folders."""
    waiting, seen = [file.resolve() for file in files], dict[Path, ast.Module]()
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen[file] = _parsed(file)
            waiting += _imported(file, seen[file])
    return _hash(f"{_label(file, files)} {syntax(tree)}" for file, tree in seen.items())


def program_code(program: Program) -> str:
    """A hash of what determines a compiled model and its data: its function, options, and what compiles it.

    Other programs in its file count only if it names them.
    """
    file = Path(inspect.getfile(inspect.unwrap(program.build)))
    tree, wanted = _parsed(file), {program.build.__name__}
    for node in reversed(tree.body):  # a program is defined before those that use it
        if _program_name(node) in wanted:
            wanted |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    own = ast.Module([node for node in tree.body if _program_name(node) in (None, *wanted)], [])
    compiler = [_root("tracr_ground_truth") / name for name in COMPILER]
    options = (program.name, program.vocabulary, program.length, program.lengths, program.causal)
    imports = [imported for imported in _imported(file.resolve(), own) if imported != file.resolve()]
    return _hash([syntax(own), repr(options), metadata.version("tracr-pypi"), code_of(*compiler, *imports)])


def _parsed(file: Path) -> ast.Module:
    """A file's syntax tree; Python 3.11 counts the depth of all threads' trees together."""
    with _PARSING:
        return ast.parse(file.read_bytes())


def syntax(node: ast.AST) -> str:
    """A syntax tree as text, the same on every Python: without docstrings and empty fields, sorted by
    name."""
    return " ".join(_words(node))


def _words(node: ast.AST) -> Iterator[str]:
    yield f"({type(node).__name__}"
    for name, value in sorted(ast.iter_fields(node)):
        parts = [part for part in (value if isinstance(value, list) else [value]) if not _is_idle(part, node)]
        # a Constant without a value is None; `kind` is the u before a text
        if name == "kind" or all(part is None for part in parts):
            continue
        yield f"{name}="
        for part in parts:
            if isinstance(part, ast.AST):
                yield from _words(part)
            else:
                yield f"{type(part).__name__}:{part!a}"
    yield ")"


def _is_idle(part: object, within: ast.AST) -> bool:
    """Whether it is a docstring, of an attribute too, or an empty piece that some Pythons put into
    f-strings."""
    if isinstance(part, ast.Expr):
        return isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)
    return isinstance(within, ast.JoinedStr) and isinstance(part, ast.Constant) and part.value == ""


def _imported(file: Path, tree: ast.AST) -> list[Path]:
    """The files that a file imports: from our leaves and, unless it is in one, from its own folder and
    package."""
    package = _package(file.parent)
    ours = any(file.is_relative_to(_root(leaf)) for leaf in LEAVES)
    found: list[Path] = []
    for node in ast.walk(tree):
        names, folder = list[str](), file.parent
        if isinstance(node, ast.ImportFrom):
            stem = f"{node.module}." if node.module else ""
            names = [stem.rstrip("."), *(f"{stem}{alias.name}" for alias in node.names)]
            for _ in range(node.level - 1):
                folder = folder.parent
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in filter(None, names):
            leaf, _, rest = name.partition(".")
            if leaf in LEAVES:
                found += [
                    _root(leaf) / "__init__.py",
                    *_modules(_root(leaf), rest.split(".") if rest else []),
                ]
            elif not ours:
                found += _modules(folder, name.split("."))
                if leaf == package.name:
                    found += _modules(package.parent, name.split("."))
    return [path.resolve() for path in found]


def _package(folder: Path) -> Path:
    """The outermost package that a folder belongs to; the folder itself if it is in none."""
    while (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _modules(folder: Path, parts: list[str]) -> list[Path]:
    """The files that importing ``parts[0].parts[1]...`` from a folder runs, as far as they exist."""
    places = [folder.joinpath(*parts[:i]) for i in range(len(parts) + 1)]
    files = [place / "__init__.py" for place in places[1:]] + [
        place.with_suffix(".py") for place in places[1:]
    ]
    return [file for file in files if file.is_file()]


@lru_cache
def _root(leaf: str) -> Path:
    """The folder of a room, found without importing it."""
    spec = importlib.util.find_spec(leaf)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]).resolve()


def _label(file: Path, roots: tuple[Path, ...]) -> str:
    """A file's name in a hash, wherever the checkout or a user's folder is."""
    for leaf in LEAVES:
        if file.is_relative_to(_root(leaf)):
            return f"{leaf}/{file.relative_to(_root(leaf)).as_posix()}"
    folder = roots[0].resolve().parent
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name


def _hash(parts: Iterator[str] | list[str]) -> str:
    return hashlib.sha256("\0".join(sorted(parts)).encode()).hexdigest()[:16]


def _program_name(node: ast.stmt) -> str | None:
    """The name of a function that is decorated as a program; None for any other statement."""
    if not isinstance(node, ast.FunctionDef):
        return None
    called = (
        decorator.func if isinstance(decorator, ast.Call) else decorator for decorator in node.decorator_list
    )
    names = (part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "") for part in called)
    return node.name if "program" in names else None
