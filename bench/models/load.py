"""From a model's name or folder to its weights, its tokenizer and a fingerprint of its files.

``embedded`` is the small model that ships with circuitmark, and a checkout has four more of its kind; some
can be fetched from the package registry (`fetch.py`); a folder is an ordinary Hugging Face directory; a
``.gguf`` file is converted to one (`gguf.py`); any other name is looked up on the hub (`hub.py`). Only
safetensors are read, never a pickle, and code that comes with a model is never run. Anything but one
complete model is refused (`whole.py`).
"""

from __future__ import annotations

import difflib
import hashlib
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from bench.engine.graph import EdgeGraph
from bench.engine.masked_model import MaskedModel
from bench.engine.memory import refuse_too_large
from bench.errors import ModelError, UsageError
from bench.models.bridge import graph_of_config, masked_model
from bench.models.fetch import PACKAGED, fetched
from bench.models.gguf import converted
from bench.models.hub import from_hub
from bench.models.whole import (
    check_finite,
    check_report,
    check_tokenizer,
    check_tokenizer_files,
    check_weights,
    empty_model,
    files_of,
    headers,
    judge,
    quiet_transformers,
    told_of,
)
from bench.store.keys import program_code

EMBEDDED = Path(str(resources.files("bench.models") / "embedded"))
RETRAINED = {f"embedded:{seed}": EMBEDDED.parent / "seeds" / str(seed) for seed in (1, 2, 3, 5)}
"""The same model trained from other seeds, in a checkout only."""
KNOWN = {
    "embedded": "GPT-2 architecture, 4 layers, trained for the four tasks; ships with circuitmark",
    **{name: f"the same, trained from seed {name[-1]}; in a checkout only" for name in RETRAINED},
    **{name: packaged.description for name, packaged in PACKAGED.items()},
}
FORMS = {
    "FOLDER": "a Hugging Face directory (config.json, safetensors, tokenizer)",
    "FILE.gguf": "a GGUF file, dequantised and kept in the cache",
    "OWNER/NAME": "a model from the hub",
    "tracr:PROGRAM": "a compiled program, which brings its own task",
}
"""Other ways to name a model."""
PROGRAM = "tracr:"
"""Prefix of the names of Tracr programs (`tracr.py`), which bring their own task."""


_FOUND: dict[tuple[str, str], Path] = {}
"""Folders of models that another process has already found."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be masked, with the tokenizer that its tasks need."""

    name: str
    masked: MaskedModel
    tokenizer: Any


def find_model(name: str, revision: str = "") -> Path:
    """The folder of a model's files; asks the hub only for a name that is neither known nor a path.

    A GGUF file is converted on first use. A folder's config is checked, not its weights.

    Args:
        name: as typed.
        revision: of a hub's model: a branch, a tag or a commit.

    Raises:
        ModelError: no such folder, a file that cannot be read, a name close to a known one, a model not
            available from the hub, or one that `whole.judge` refuses.
        UsageError: a revision of a model that is not from the hub.
    """
    if not name.strip():
        raise ModelError("no model is named: write 'embedded', a folder or a hub name")
    if (name, revision) in _FOUND:
        return _FOUND[name, revision]
    place = _here(name)
    if place is None:
        return from_hub(name, revision, KNOWN)
    if revision:
        raise _no_revision(name)
    folder = converted(place) if place.is_file() else place
    if not os.path.exists(folder / "config.json"):
        raise ModelError(f"the folder {name} holds no config.json: name a Hugging Face model directory")
    with _loading(name, folder):
        judge(folder)
    return folder


def remember(name: str, revision: str, folder: Path) -> None:
    """Records where a model is, so that a run's processes need not ask the hub, whose branches may move.

    Args:
        name: as typed.
        revision: as typed.
        folder: what `find_model` returned for the two.
    """
    _FOUND[name, revision] = folder


def _here(name: str) -> Path | None:
    """The folder or GGUF file of a local model; None if only the hub can have the name."""
    if name == "embedded":
        return EMBEDDED
    if name in RETRAINED:
        if not RETRAINED[name].is_dir():
            raise ModelError(
                f"the model '{name}' comes with a checkout of circuitmark, not with the installed package: "
                "run from a checkout, or choose 'embedded'"
            )
        return RETRAINED[name]
    if name in PACKAGED:
        return fetched(name)
    try:
        path = Path(name).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"'{name[:80]}' does not name a model: {error}") from error
    if path.suffix.lower() == ".gguf" and not is_folder:
        if not is_file:
            raise ModelError(f"there is no file {name}: name an existing one")
        return path
    if is_folder:
        return path
    near = difflib.get_close_matches(name, KNOWN, n=1)
    if near and "/" not in name:
        raise ModelError(f"unknown model '{name}'; did you mean '{near[0]}'?")
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"there is no folder {name}: name an existing one, a hub name, or 'embedded'")
    return None


def _loading(name: str, folder: Path) -> AbstractContextManager[None]:
    """Adds to errors inside the name of the model, its folder if that is in a cache, and the mend."""
    subject, get = f"the model '{name}' cannot be loaded", "get"
    if folder not in (EMBEDDED, *RETRAINED.values(), Path(name).expanduser()):
        above = folder.parent  # the hub's client keeps the files of its snapshots beside them
        kept = above.parent if above.name == "snapshots" else folder
        subject, get = f"{subject} from {kept}", "move that folder away to get"
    return told_of(subject, f"{get} its files again, or choose another --model")


def _no_revision(name: str) -> UsageError:
    return UsageError(f"only hub models have revisions, and '{name}' is not one: leave --revision out")


def program_of(name: str, revision: str = "") -> str | None:
    """The program that a model's name stands for; None if it is not a program's.

    Raises:
        UsageError: a revision of a program.
    """
    if not name.startswith(PROGRAM):
        return None
    if revision:
        raise _no_revision(name)
    return name.removeprefix(PROGRAM)


def model_hash(name: str, revision: str = "") -> str:
    """A hash of what a model's name stands for.

    Args:
        name: as typed.
        revision: as `find_model` takes it.

    Raises:
        ModelError, UsageError: there is no such model.
    """
    program = program_of(name, revision)
    if program is None:
        return fingerprint(find_model(name, revision))
    from bench.names import get_program

    return program_code(get_program(program))


def find_identified(name: str, revision: str = "") -> tuple[Path | None, str]:
    """Where a model is (None for a program), and a hash of what its name stands for.

    Raises:
        ModelError, UsageError: there is no such model.
    """
    if program_of(name, revision) is not None:
        return None, model_hash(name, revision)
    folder = find_model(name, revision)
    return folder, fingerprint(folder)


def graph_of(name: str, revision: str = "") -> EdgeGraph:
    """The edges of a model, from its config alone; a program is compiled for this.

    Raises:
        ModelError, UsageError: as `find_model`; its architecture is not supported.
    """
    program = program_of(name, revision)
    if program is not None:
        from bench.models.tracr import load_program
        from bench.names import get_program

        return load_program(get_program(program)).masked.graph
    folder = find_model(name, revision)
    from transformers import AutoConfig

    with _loading(name, folder):
        return graph_of_config(AutoConfig.from_pretrained(folder, trust_remote_code=False))


def fingerprint(folder: Path) -> str:
    """A hash of the files that determine what a model computes and how it reads text."""
    digest = hashlib.sha256()
    for file in files_of(folder):
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def load_model(name: str, dtype: str = "float32", device: str = "cpu", revision: str = "") -> LoadedModel:
    """Loads a model; the last one is cached and returned again for the same arguments.

    Args:
        name: ``embedded``, a folder, a GGUF file or a hub name, as `find_model` reads it; not a program.
        dtype: of weights and activations: float32, float64 or bfloat16.
        device: where it runs, as torch spells it.
        revision: of a hub's model: a branch, a tag or a commit.

    Raises:
        ModelError: it is not available, its files are damaged or not one model's, or its architecture is not
            supported.
        UsageError: a revision of a model that is not from the hub.
    """
    folder = find_model(name, revision)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    stored = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    with _loading(name, folder):
        check_tokenizer_files(folder)
        empty = empty_model(folder)
        check_weights(headers(folder), empty)
    refuse_too_large(name, empty.num_parameters(), stored, device)
    with _loading(name, folder):
        with told_of("its tokenizer cannot be read", "get its files again"):
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        check_tokenizer(tokenizer)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=stored,
            output_loading_info=True,
        )
        model, report = loaded
        check_report(report)
        masked = masked_model(model.eval(), copied=False).to(device, getattr(torch, dtype))
        check_finite(masked)
    tokenizer.model_max_length = masked.architecture.n_ctx  # its files may not say it
    return LoadedModel(name, masked, tokenizer)
