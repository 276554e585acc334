"""Files that are not what they should be: damaged as any file may be, and by what stands in them."""

from __future__ import annotations

import copy
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save, save_file

from bench.files import load_tensors, save_tensors

GONE = object()
"""Stands for a field that is taken away."""


@contextmanager
def in_time(seconds: float = 10) -> Iterator[None]:
    """Fails where something hangs."""

    def late(*_: object) -> None:
        raise AssertionError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(target: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return make


def _content(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return write


ANY: Mapping[str, Callable[[Path], None]] = {
    "a folder": _folder,
    "a pipe": _pipe,
    "a device without end": _link("/dev/zero"),
    "empty": _content(lambda _: b""),
    "a null": _content(lambda _: b"\0"),
    "half": _content(lambda whole: whole[: len(whole) // 2]),
    "other bytes": _content(lambda whole: bytes(255 - byte for byte in whole)),
    "zeros": _content(lambda whole: bytes(len(whole))),
    "deep": _content(lambda _: b"[" * 60_000),
    "an image": _content(lambda _: b"\x89PNG\r\n\x1a\n" + bytes(100)),
}
"""How any file may be damaged."""
TENSORS: Mapping[str, Callable[[Path], None]] = {
    **ANY,
    "a byte less": _content(lambda whole: whole[:-1]),
    "a byte more": _content(lambda whole: whole + b"\0"),
    "a header without end": _content(lambda whole: b"\xff" * 8 + whole[8:]),
    "a header of gigabytes": _content(lambda whole: (2**40).to_bytes(8, "little") + whole[8:]),
    "no header": _content(lambda whole: bytes(8) + whole[8:]),
    "somebody else's": lambda path: save_file({"weight": torch.ones(2)}, path),
    "a header that is a list": _content(lambda _: save({}, metadata={"circuitmark": "[]"})),
    "a header that is no JSON": _content(lambda _: save({}, metadata={"circuitmark": "{"})),
    "a header too deep": _content(lambda _: save({}, metadata={"circuitmark": "[" * 100_000})),
    "a header that says more": _content(lambda _: save({}, metadata={"circuitmark": "{}", "x": "y"})),
    "a header's hash": _content(
        lambda whole: re.sub(
            rb'(\\"header\\": \\")(..)', lambda m: m[1] + (b"00" if m[2] != b"00" else b"11"), whole, count=1
        )
    ),
}
"""The same of a file of tensors."""


def header(*where: str, value: Any) -> Callable[[Path], None]:
    """A file of tensors with a field of its header changed, its hashes those of what it holds."""

    def change(path: Path) -> None:
        tensors, held = load_tensors(path)
        held = at = copy.deepcopy(held)
        for name in where[:-1]:
            at = at[name]
        if value is GONE:
            del at[where[-1]]
        else:
            at[where[-1]] = value
        save_tensors(path, tensors, held)

    return change


def tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[[Path], None]:
    """A file of tensors with one of these changed, or taken away, its hashes those of what it holds."""

    def write(path: Path) -> None:
        tensors, held = load_tensors(path)
        changed = change(tensors.pop(name))
        save_tensors(path, tensors if changed is None else {**tensors, name: changed}, held)

    return write
