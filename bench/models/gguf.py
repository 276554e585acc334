"""A GGUF file -> an ordinary Hugging Face folder, converted once and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.engine.memory import refuse_too_large
from bench.errors import ModelError, UnwritableFolder
from bench.models.whole import (
    Stored,
    check_report,
    check_tokenizer,
    check_weights,
    empty_of,
    judge_config,
    quiet_transformers,
    told_of,
)
from bench.store.cache import cache_folder

VERSION = 2
"""Of the conversion: folders of earlier versions are not used."""
INTEGERS = ("I8", "I16", "I32", "I64")
"""Number types that are not weights, unlike quantised ones, which GGUF says how to read."""
TURNED = r"^transformer\.h\.\d+\.\w+\.c_\w+\.weight$"
"""Weights that transformers stores transposed: the projections of GPT-2."""
LARGEST_HEADER = 5_000_000
"""Most values in a file's header: a vocabulary of 256,000 tokens takes a million."""


def converted(file: Path) -> Path:
    """The folder of a GGUF file's model in the cache, converted if it is not there.

    Raises:
        ModelError, UnwritableFolder: as `convert`.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    folder = cache_folder() / "gguf" / f"{file.stem}-{digest}-v{VERSION}"
    return folder if os.path.exists(folder / "config.json") else convert(file, folder)


def convert(file: Path, folder: Path) -> Path:
    """Writes a GGUF file's model, dequantised to float32, and its tokenizer to a folder; whole or not at all.

    Raises:
        ModelError: the file is damaged, lacks weights, or holds what transformers cannot read.
        UnwritableFolder: the folder cannot be written to.
    """
    from safetensors import SafetensorError

    model, tokenizer = _read(file)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting") as temporary:
            made = Path(temporary) / "model"
            made.mkdir()  # unlike the temporary folder, with the umask's permissions
            model.save_pretrained(made)
            tokenizer.save_pretrained(made)
            made.rename(folder)
    except (OSError, SafetensorError) as error:
        if (folder / "config.json").exists():  # another process was faster
            return folder
        raise UnwritableFolder(
            f"cannot keep the converted model in {folder} ({getattr(error, 'strerror', None) or error}): "
            "free some space there or choose another folder with $CIRCUITMARK_CACHE"
        ) from error
    return folder


def _read(file: Path) -> tuple[Any, Any]:
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"{file} is a GGUF file, and gguf is not installed: pip install 'circuitmark[gguf]'"
        ) from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    with told_of(f"{file} cannot be read as a GGUF model", "get a new copy or choose another --model"):
        empty = _judged(file)
        refuse_too_large(file.name, empty.num_parameters(), torch.float32, "cpu")
        with tempfile.TemporaryDirectory() as alone:  # a tokenizer.json beside the file may be another's
            os.symlink(file.resolve(), Path(alone) / "model.gguf")
            with told_of("its tokenizer cannot be read", "get a new copy"):
                tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file="model.gguf")
            check_tokenizer(tokenizer)
            found: Any = AutoModelForCausalLM.from_pretrained(
                alone, gguf_file="model.gguf", dtype=torch.float32, output_loading_info=True,
                ignore_mismatched_sizes=True,
            )  # fmt: skip
        loaded, report = found
        check_report(report)
        config = loaded.config
        config.__dict__.pop("quantization_config", None)  # the weights are plain now and saved as such
        plain: Any = type(loaded)(config)
        plain.load_state_dict(loaded.state_dict())
        broken = [name for name, weight in plain.named_parameters() if not weight.isfinite().all()]
        if broken:
            raise ModelError(f"it has weights that are not finite ({broken[0]}): get a new copy")
    return plain, tokenizer


def _judged(file: Path) -> Any:
    """The model of a GGUF file, checked, without reading its weights.

    Raises:
        ModelError, ValueError: the file ends early, or its tensors are not those of its model.
    """
    from transformers import AutoConfig
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
        load_gguf_checkpoint,
    )

    reader = _whole_reader()(file)
    _check_layout(reader, file.stat().st_size)
    described = load_gguf_checkpoint(file)["config"]
    judge_config(described)
    empty = empty_of(AutoConfig.for_model(**described))
    processor: Any = TENSOR_PROCESSORS.get(empty.config.model_type, TensorProcessor)
    known = get_gguf_hf_weights_map(empty, processor(config=described))
    stored: dict[str, Stored] = {}
    for tensor in reader.tensors:
        if tensor.name == "rope_freqs.weight":
            raise ValueError("it has scaled rope_freqs, which transformers does not read from GGUF")
        name, kind = known.get(tensor.name, tensor.name), tensor.tensor_type.name
        shape = tuple(tensor.shape.tolist()[::-1])
        if re.search(TURNED, name):
            shape = shape[::-1]
        stored[name] = (kind if kind in INTEGERS else "F32", shape)
    check_weights(stored, empty)
    return empty


def _check_layout(reader: Any, size: int) -> None:
    """Checks that the tensors fill the file: each begins where the one before ends, and nothing follows.

    Raises:
        ValueError: they do not; a slightly damaged header would have other bytes read as weights.
    """
    end = reader.data_offset
    for tensor in reader.tensors:
        if tensor.data_offset != end:
            raise ValueError(f"the weight {tensor.name} does not begin where the one before it ends")
        end += -(-tensor.n_bytes // reader.alignment) * reader.alignment
    if size > end:
        raise ValueError("it holds more than its header says")


def _whole_reader() -> type[Any]:
    """A GGUF reader that stops at the end of the file; gguf's own reads as far as the header says."""
    from gguf import GGUFReader

    class WholeReader(GGUFReader):
        reads = 0

        def _get(self, offset: Any, dtype: Any, count: Any = 1, override_order: Any = None) -> Any:
            self.reads += 1
            end = int(offset) + int(count) * np.dtype(dtype).itemsize
            if end > len(self.data):
                raise ValueError("it is cut short")
            if self.reads > LARGEST_HEADER:
                raise ValueError(f"its header holds more than {LARGEST_HEADER} values")
            return super()._get(int(offset), dtype, int(count), override_order)

    return WholeReader
