"""GGUF files that are not one whole model: each is refused in one line, nothing is kept, and none hangs."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import ModelError
from bench.models import gguf as conversion
from bench.models.load import load_model
from bench.models.whole import told_of
from gguf_files import left_in, tiny_llama, write_gguf
from model_folders import filled, within

pytestmark = pytest.mark.usefixtures("cache")

Change = Callable[[bytes], bytes]
UP = "model.layers.1.mlp.up_proj.weight"
COUNTS, KEYS, FIRST_KEY = 8, 16, 24
"""Where the header says how many tensors and how many values there are, and where these begin."""
KIND, LENGTH = 4, 8
"""How far behind an array's key the kind of its entries stands, and their number."""


def packed(at: int, form: str, *values: Any) -> Change:
    """Other numbers at a place."""

    def change(content: bytes) -> bytes:
        numbers = struct.pack("<" + form, *values)
        return content[:at] + numbers + content[at + len(numbers) :]

    return change


def behind(name: str, form: str, *values: Any, at: int = 4) -> Change:
    """Other numbers behind a name: a key's value begins 4 bytes behind it, after its kind."""
    return lambda content: packed(content.index(name.encode()) + len(name) + at, form, *values)(content)


def renamed(old: str, new: str) -> Change:
    """Another name, as long."""
    assert len(old) == len(new)
    return lambda content: content.replace(old.encode(), new.encode(), 1)


def cut(size: float) -> Change:
    """The beginning alone: so many bytes, or that share of them."""
    return lambda content: content[: size if isinstance(size, int) else int(size * len(content))]


def nested(content: bytes) -> bytes:
    """An array in an array, and so on."""
    at = content.index(b"tokenizer.ggml.token_type") + len("tokenizer.ggml.token_type") + 4
    return content[:at] + struct.pack("<IQ", 9, 1) * 5000 + content[at:]


CHANGED: dict[str, tuple[Change, str]] = {
    "nothing": (cut(0), "empty file"),
    "three bytes": (cut(3), "is cut short"),
    "the magic alone": (cut(4), "is cut short"),
    "no value": (cut(FIRST_KEY), "is cut short"),
    "cut in a key": (cut(FIRST_KEY + 12), "is cut short"),
    "cut in a word": (cut(600), "is cut short"),
    "cut in the tensors' names": (cut(2100), "is cut short"),
    "cut in the weights": (cut(0.5), "is cut short"),
    "the last byte gone": (cut(-1), "is cut short"),
    "a text": (lambda _: b"no model at all" * 99, "magic"),
    "another magic": (renamed("GGUF", "GGML"), "magic"),
    "version 0": (packed(4, "I", 0), "version"),
    "version 99": (packed(4, "I", 99), "version 99"),
    "tensors without end": (packed(COUNTS, "Q", 2**60), "is cut short"),
    "values without end": (packed(KEYS, "Q", 2**60), "is cut short"),
    "one tensor more": (lambda c: packed(COUNTS, "Q", c[COUNTS] + 1)(c), "is cut short"),
    "one tensor fewer": (lambda c: packed(COUNTS, "Q", c[COUNTS] - 1)(c), "holds more than its header says"),
    "one value more": (lambda c: packed(KEYS, "Q", c[KEYS] + 1)(c), "is cut short"),
    "one value fewer": (lambda c: packed(KEYS, "Q", c[KEYS] - 1)(c), "is cut short"),
    "a key without end": (packed(FIRST_KEY, "Q", 2**62), "is cut short"),
    "a text without end": (behind("general.architecture", "Q", 2**40), "is cut short"),
    "numbers without end": (behind("tokenizer.ggml.token_type", "Q", 2**60, at=LENGTH), "is cut short"),
    "words without end": (behind("tokenizer.ggml.tokens", "Q", 2**60, at=LENGTH), "is cut short"),
    "arrays in arrays": (nested, "recursion"),
    "a kind of value that is none": (behind("llama.block_count", "I", 77, at=0), "77"),
    "words that are no text": (behind("general.architecture", "B", 255, at=12), "codec"),
    "an architecture that nobody knows": (lambda c: c.replace(b"llama", b"lhama"), "lhama is not supported"),
    "an architecture that is not carried": (lambda c: c.replace(b"llama", b"bloom"), "bloom"),
    "half of the layers": (behind("llama.block_count", "I", 1), r"leaves out the weight blk\.1\."),
    "a layer too many": (behind("llama.block_count", "I", 3), "lacks the weight model.layers.2."),
    "a million layers": (behind("llama.block_count", "I", 10**6), "'num_hidden_layers' .* 1000000"),
    "no layers": (behind("llama.block_count", "I", 0), "'num_hidden_layers' .* 0"),
    "no heads": (behind("llama.attention.head_count", "I", 0), "'num_attention_heads' .* 0"),
    "a vocabulary of milliards": (behind("llama.vocab_size", "I", 2 * 10**9), "'vocab_size' .* 2000000000"),
    "another vocabulary": (behind("llama.vocab_size", "I", 98), r"shape \(99, 32\), .* \(98, 32\)"),
    "another width": (behind("llama.embedding_length", "I", 64), "has the shape"),
    "other hidden units": (behind("llama.feed_forward_length", "I", 48), "has the shape"),
    "no width": (renamed("llama.embedding_length", "llama.embedding_lengtt"), "has the shape"),
    "no words": (renamed("tokenizer.ggml.tokens", "tokenizer.ggml.tokenz"), "its tokenizer cannot be read"),
    "words of a kind that is none": (behind("tokenizer.ggml.tokens", "I", 99, at=KIND), "99"),
    "another name of a weight": (renamed("blk.1.ffn_up", "blk.1.ffn_pu"), "leaves out .* blk.1.ffn_pu"),
    "a weight twice": (renamed("blk.1.ffn_up", "blk.0.ffn_up"), "duplicate"),
    "weights as integers": (behind("blk.0.attn_q.weight", "I", 26, at=20), "stored as I32"),
    "weights of a kind that is none": (behind("blk.0.attn_q.weight", "I", 999, at=20), "999"),
    "a weight elsewhere": (behind("blk.0.attn_q.weight", "Q", 2**40, at=24), "is cut short"),
    "a shape of zeros": (behind("blk.0.attn_q.weight", "Q", 0), "does not begin where"),
    "a shape without end": (behind("blk.0.attn_q.weight", "Q", 2**40), "is cut short"),
    "a shape turned": (behind("blk.0.ffn_up.weight", "QQ", 64, 32), r"shape \(32, 64\), .* \(64, 32\)"),
}  # fmt: skip


def refusal(file: Path) -> str:
    """What is said of a file, in one line."""
    with within(30), pytest.raises(ModelError) as refused:
        load_model(str(file))
    line = str(refused.value)
    assert line.startswith(f"{file} cannot be read as a GGUF model: ")
    assert len(line.splitlines()) == 1
    return line


@pytest.mark.parametrize("fault", CHANGED)
def test_bytes_that_are_not_one_whole_model(
    fault: str, gguf_file: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change, expected = CHANGED[fault]
    content = gguf_file.read_bytes()
    gguf_file.write_bytes(change(content))
    assert gguf_file.read_bytes() != content
    assert re.search(expected, refusal(gguf_file))
    assert capfd.readouterr() == ("", "")
    assert left_in(cache) == []


def with_weight(name: str, value: float) -> Callable[[Path], Any]:
    """One number of a weight is another."""

    def write(file: Path) -> None:
        model = tiny_llama()
        filled(value)(model.get_parameter(name).data)
        write_gguf(file, model)

    return write


WRITTEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a weight missing": (lambda f: write_gguf(f, tiny_llama(), without=UP), f"lacks the weight {UP}"),
    "a weight too many": (
        lambda f: write_gguf(f, tiny_llama(), more={"blk.0.lora_a": np.ones((2, 2), np.float32)}),
        "leaves out the weight blk.0.lora_a",
    ),
    "a bias too many": (
        lambda f: write_gguf(f, tiny_llama(), more={"blk.0.attn_q.bias": np.ones(32, np.float32)}),
        "leaves out the weight blk.0.attn_q.bias",
    ),
    "integers": (
        lambda f: write_gguf(
            f, tiny_llama(), without=UP, more={"blk.1.ffn_up.weight": np.ones((64, 32), np.int8)}
        ),
        "stored as I8",
    ),
    "nan": (with_weight(UP, float("nan")), f"not finite .{UP}"),
    "infinite": (with_weight("model.norm.weight", float("inf")), "not finite .model.norm.weight"),
    "slowed rotations": (
        lambda f: write_gguf(f, tiny_llama(), more={"rope_freqs.weight": np.ones(4, np.float32)}),
        "rope_freqs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRITTEN)
def test_files_written_well_that_are_not_one_whole_model(fault: str, tmp_path: Path, cache: Path) -> None:
    write, expected = WRITTEN[fault]
    write(tmp_path / "tiny.gguf")
    assert re.search(expected, refusal(tmp_path / "tiny.gguf"))
    assert left_in(cache) == []


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("gone")])
def test_what_is_no_file(make: Callable[[Path], Any], tmp_path: Path) -> None:
    make(tmp_path / "tiny.gguf")
    with within(30), pytest.raises(ModelError, match=r"tiny\.gguf"):
        load_model(str(tmp_path / "tiny.gguf"))


HEADER = 3264
"""Bytes before the weights."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_changed_in_a_header(data: st.DataObject, gguf_bytes: bytes, tmp_path: Path) -> None:
    """Refused in one line, or a file whose weights are in their places all the same."""
    content = bytearray(gguf_bytes)
    at = data.draw(st.integers(0, HEADER - 1))
    content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    (tmp_path / "tiny.gguf").write_bytes(content)
    try:
        with within(30), told_of("x", "y"):
            conversion._judged(tmp_path / "tiny.gguf")
    except ModelError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 102_975))
def test_cut_anywhere(size: int, gguf_bytes: bytes, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(gguf_bytes[:size])
    with within(30), pytest.raises(ModelError), told_of("x", "y"):
        conversion._judged(tmp_path / "tiny.gguf")
