"""A small model's folder, and ways to spoil it."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.models.load import EMBEDDED
from bench.models.whole import INDEX, WEIGHTS
from bridge_oracle import tiny_gpt2

Spoil = Callable[[Path], Any]
VOCABULARY = 732
"""Tokens of the shipped tokenizer."""


def good_folder(folder: Path) -> Path:
    """A random GPT-2 of two layers with the tokenizer of the shipped model."""
    shape = {"vocab_size": VOCABULARY, "n_positions": 64, "n_layer": 2, "n_embd": 16, "n_head": 2}
    tiny_gpt2(torch.float32, **shape).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(EMBEDDED / name, folder)
    return folder


class Hung(BaseException):
    """Not an Exception: nothing but a test catches it."""


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Ends what hangs."""

    def ring(*_: Any) -> None:
        raise Hung(f"for {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def config(**changes: Any) -> Spoil:
    """Other values in config.json."""
    return lambda folder: edit(folder / "config.json", **changes)


def edit(file: Path, **changes: Any) -> None:
    """Other values in a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def text(name: str, content: str | bytes) -> Spoil:
    """Another content of a file."""
    return lambda folder: (folder / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def weight(name: str, change: Callable[[Tensor], Tensor | None]) -> Spoil:
    """Another value of one tensor; none leaves it out."""

    def spoil(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        changed = change(tensors.pop(name, torch.zeros(16)))
        save_file(
            tensors if changed is None else tensors | {name: changed}, folder / WEIGHTS, {"format": "pt"}
        )

    return spoil


def filled(value: float) -> Callable[[Tensor], Tensor]:
    """One number of a tensor is another."""

    def change(tensor: Tensor) -> Tensor:
        tensor.view(-1)[3] = value
        return tensor

    return change


def sharded(change: Callable[[dict[str, dict[str, Tensor]], dict[str, Any]], Any]) -> Spoil:
    """Weights in two files with an index, after a change of both."""

    def spoil(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).rename(folder / "all.old")
        names = sorted(tensors)
        files = {
            "one.safetensors": {name: tensors[name] for name in names[:9]},
            "two.safetensors": {name: tensors[name] for name in names[9:]},
        }
        index: dict[str, Any] = {name: file for file, held in files.items() for name in held}
        change(files, index)
        for file, held in files.items():
            save_file(held, folder / file, {"format": "pt"})
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}))

    return spoil


def replaced(name: str, make: Spoil) -> Spoil:
    """Something else in the place of a file."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return spoil


def without(*names: str) -> Spoil:
    """Some files fewer."""

    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return spoil


def both(*spoils: Spoil) -> Spoil:
    """Several faults, one after the other."""
    return lambda folder: [spoil(folder) for spoil in spoils]
