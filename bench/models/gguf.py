"""A GGUF file -> an ordinary Hugging Face folder, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from bench.errors import ModelError, UnwritableFolder
from bench.store.cache import cache_folder

VERSION = 1
"""Of the conversion: folders of an earlier one are not used."""


def converted(file: Path) -> Path:
    """The folder of a GGUF file's model in the cache, made when it is not there.

    Raises:
        ModelError, UnwritableFolder: as `convert`.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    folder = cache_folder() / "gguf" / f"{file.stem}-{digest}-v{VERSION}"
    return folder if (folder / "config.json").exists() else convert(file, folder)


def convert(file: Path, folder: Path) -> Path:
    """Writes a GGUF file's model, dequantised to float32, and its tokenizer to a folder; whole or not at all.

    Raises:
        ModelError: the file is damaged, lacks weights, or holds what transformers cannot read.
        UnwritableFolder: the folder takes no file.
    """
    from safetensors import SafetensorError

    model, tokenizer = _read(file)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting") as temporary:
            made = Path(temporary) / "model"
            made.mkdir()  # unlike the temporary folder, open to whom the umask lets in
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
        import gguf
    except ImportError as error:
        raise ModelError(
            f"{file} is a GGUF file, and gguf is not installed: pip install 'circuitmark[gguf]'"
        ) from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        held = {tensor.name for tensor in gguf.GGUFReader(file).tensors}
        if "rope_freqs.weight" in held:
            raise ValueError("it scales rope_freqs, which transformers does not read from GGUF")
        with tempfile.TemporaryDirectory() as alone:  # a tokenizer.json beside the file is another model's
            os.symlink(file.resolve(), Path(alone) / "model.gguf")
            tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file="model.gguf")
            found: Any = AutoModelForCausalLM.from_pretrained(
                alone, gguf_file="model.gguf", dtype=torch.float32, output_loading_info=True
            )
        loaded, report = found
        if report["missing_keys"]:  # transformers would fill them at random
            raise ValueError(f"it lacks the weight {min(report['missing_keys'])}")
        config = loaded.config
        config.__dict__.pop("quantization_config", None)  # the weights are plain, and to be saved as such
        plain: Any = type(loaded)(config)
        plain.load_state_dict(loaded.state_dict())
    except Exception as error:  # whatever a damaged or foreign file makes transformers raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{file} cannot be read as a GGUF model: {reason}; get it anew or choose another --model"
        ) from error
    return plain, tokenizer
