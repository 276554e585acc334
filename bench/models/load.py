"""A model's name or folder -> weights, tokenizer and a fingerprint of its files.

``embedded`` is the small model that ships with circuitmark; some can be fetched from the package
registry (`fetch.py`); a folder is an ordinary Hugging Face directory; a ``.gguf`` file is converted to
one (`gguf.py`); any other name is asked of the hub. Only safetensors are read, never a pickle, and code
that comes with a model is never run.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from bench.engine.masked_model import MaskedModel
from bench.engine.memory import refuse_too_large
from bench.errors import ModelError
from bench.models.fetch import PACKAGED, fetched
from bench.store.keys import program_code

EMBEDDED = Path(str(resources.files("bench.models") / "embedded"))
KNOWN = {
    "embedded": "GPT-2 architecture, 4 layers, trained for the four tasks; ships with circuitmark",
    **{name: packaged.description for name, packaged in PACKAGED.items()},
}
FORMS = {
    "FOLDER": "a Hugging Face directory (config.json, safetensors, tokenizer)",
    "FILE.gguf": "a GGUF file, dequantised and kept in the cache",
    "OWNER/NAME": "a model of the hub",
    "tracr:PROGRAM": "a compiled program; it brings its own task",
}
"""Other ways to name a model."""
PROGRAM = "tracr:"
"""A model's name that begins so is a Tracr program (`tracr.py`) and brings its own task."""
FILES = ("*.json", "*.safetensors", "tokenizer*", "merges.txt")


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be masked, with the tokenizer that its tasks need."""

    name: str
    masked: MaskedModel
    tokenizer: Any


def find_model(name: str) -> Path:
    """The folder of a model's files; asks the hub only for a name that is neither known nor a path.

    A GGUF file is converted when it is met for the first time.

    Raises:
        ModelError: no such folder, a file that cannot be read, a name close to a known one, or nothing to
            be had from the hub.
    """
    if not name.strip():
        raise ModelError("no model is named: write 'embedded', a folder or a hub name")
    if name == "embedded":
        return EMBEDDED
    if name in PACKAGED:
        return fetched(name)
    try:
        path = Path(name).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, RuntimeError) as error:
        raise ModelError(f"'{name[:80]}' names no model: {error}") from error
    if path.suffix.lower() == ".gguf" and not is_folder:
        if not is_file:
            raise ModelError(f"there is no file {name}: name an existing one")
        from bench.models.gguf import converted

        return converted(path)
    if is_folder:
        if not (path / "config.json").exists():
            raise ModelError(f"the folder {name} holds no config.json: name a Hugging Face model directory")
        return path
    near = difflib.get_close_matches(name, KNOWN, n=1)
    if near and "/" not in name:
        raise ModelError(f"unknown model '{name}'; did you mean '{near[0]}'?")
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"there is no folder {name}: name an existing one, a hub name, or 'embedded'")
    return _from_hub(name)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:  # its client raises whatever a broken connection makes it raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if isinstance(error, RepositoryNotFoundError):
            reason = "it has no such model, or a private one"
        known = ", ".join(KNOWN)
        raise ModelError(
            f"the model '{name}' is neither known ({known}), nor a folder, "
            f"nor to be had from the hub ({reason})"
        ) from error


def program_of(name: str) -> str | None:
    """The program that a model's name stands for, None when it is no program's."""
    return name.removeprefix(PROGRAM) if name.startswith(PROGRAM) else None


def model_hash(name: str) -> str:
    """A hash of what a model's name stands for.

    Raises:
        ModelError, UsageError: it stands for nothing.
    """
    program = program_of(name)
    if program is None:
        return fingerprint(find_model(name))
    from bench.names import get_program

    return program_code(get_program(program))


def fingerprint(folder: Path) -> str:
    """A hash of the files that determine what a model computes and how it reads text."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in FILES for file in folder.glob(pattern)}):
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def load_model(name: str, dtype: str = "float32", device: str = "cpu") -> LoadedModel:
    """Loads a model; the last one is kept, and handed out again for the same arguments.

    Args:
        name: ``embedded``, a folder, a GGUF file or a hub name, as `find_model` reads it; no program.
        dtype: of weights and activations: float32, float64 or bfloat16.
        device: where it runs, as torch spells it.

    Raises:
        ModelError: it cannot be had, its files are damaged, or its architecture is not supported.
    """
    folder = find_model(name)
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from bench.models.bridge import masked_model

    logging.disable_progress_bar()  # ours would stand beside it
    stored = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    try:
        with torch.device("meta"):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            n_parameters = AutoModelForCausalLM.from_config(config, trust_remote_code=False).num_parameters()
        refuse_too_large(name, n_parameters, stored, device)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=stored,
            output_loading_info=True,
        )
        model, report = loaded
        masked = masked_model(model.eval(), copied=False)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged or foreign file makes transformers raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"the model '{name}' cannot be loaded: {reason}; delete {folder} and get its files anew, "
            "or choose another --model"
        ) from error
    if report["missing_keys"]:  # transformers would fill them at random
        raise ModelError(f"the model '{name}' lacks the weight {min(report['missing_keys'])}: get it anew")
    broken = [weight for weight, values in masked.weights.items() if not values.isfinite().all()]
    if broken:
        raise ModelError(f"the model '{name}' has weights that are not finite ({broken[0]}): get it anew")
    if not len(tokenizer):
        raise ModelError(f"the model '{name}' has no tokenizer: add its tokenizer.json to the folder")
    return LoadedModel(name, masked.to(device, getattr(torch, dtype)), tokenizer)
