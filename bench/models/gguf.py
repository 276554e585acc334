"""A GGUF file -> an ordinary Hugging Face folder, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from bench.cache import cache_folder
from bench.errors import ModelError, UnwritableFolder


def converted(file: Path) -> Path:
    """The folder of a GGUF file's model in the cache, made when it is not there.

    Raises:
        ModelError, UnwritableFolder: as `convert`.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    folder = cache_folder() / "gguf" / f"{file.stem}-{digest}"
    return folder if (folder / "config.json").exists() else convert(file, folder)


def convert(file: Path, folder: Path) -> Path:
    """Writes a GGUF file's model, dequantised to float32, and its tokenizer to a folder; whole or not at all.

    Raises:
        ModelError: the file is damaged, or of an architecture that transformers cannot read.
        UnwritableFolder: the folder takes no file.
    """
    model, tokenizer = _read(file)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting") as made:
            model.save_pretrained(made)
            tokenizer.save_pretrained(made)
            Path(made).rename(folder)
            Path(made).mkdir()  # what the context wants to remove
    except OSError as error:
        if (folder / "config.json").exists():  # another process was faster
            return folder
        raise UnwritableFolder(
            f"cannot keep the converted model in {folder} ({error.strerror or error}): "
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
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
    except Exception as error:  # whatever a damaged or foreign file makes transformers raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{file} cannot be read as a GGUF model: {reason}") from error
    config = loaded.config
    del config.quantization_config  # its weights are plain now, and are to be saved as such
    plain: Any = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict())
    return plain, tokenizer
