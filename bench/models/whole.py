"""Checks a model's folder before its weights are read: a model is loaded whole or not at all.

transformers is more lenient: it ignores tensors that the config does not expect, makes up missing ones, reads
integers as if they were weights, and makes up a tokenizer. Each of these gives numbers that are not the
model's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bench.engine.masked_model import MaskedModel
from bench.errors import ModelError
from bench.models.bridge import SUPPORTED, check_supported, not_supported

FILES = ("*.json", "*.safetensors", "tokenizer*", "merges.txt")
"""Files that determine what a model computes and how it reads text."""
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
"""Files that make a tokenizer: one of these groups must be present."""
OTHER_FORMATS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf")
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
FLOATS = ("F64", "F32", "F16", "BF16")
"""Number types of plain weights, as safetensors calls them."""
BUFFERS = {
    r"(attn|attention)\.(bias|masked_bias)": "the causal mask that old versions of GPT-2 and GPT-NeoX stored",
    r"rotary_emb\.inv_freq": "the rotary frequencies, which the config determines",
}
"""Endings of tensors' names that a file may hold besides the weights, and what they are: nothing learned."""
OF_ONE = "get the config and the weights of the same model"
LARGEST_JSON = 2**24
"""Most bytes of a config or an index; the index of a thousand shards is smaller."""
BOUNDS = {
    ("n_layer", "num_hidden_layers"): 1_000,
    ("n_head", "num_attention_heads", "num_key_value_heads"): 10_000,
    ("n_embd", "hidden_size", "head_dim"): 1_000_000,
    ("n_inner", "intermediate_size"): 10_000_000,
    ("vocab_size",): 10_000_000,
    ("n_positions", "max_position_embeddings"): 100_000_000,
}
"""The largest values of config keys: far above any decoder, yet small enough to build it without weights."""


Stored = tuple[str, tuple[int, ...]]
"""A tensor in a file: its number type and its shape."""


@contextmanager
def told_of(subject: str, mend: str) -> Iterator[None]:
    """Turns any error inside into a ModelError of one line.

    Args:
        subject: what the line begins with.
        mend: what it ends with, unless the error is a ModelError, which says its own.

    Raises:
        ModelError: in place of any other error.
    """
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{subject}: {error}") from error
    except Exception as error:  # whatever a damaged or foreign file makes transformers raise
        raise ModelError(f"{subject}: {first_line(error)}; {mend}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has no message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def quiet_transformers() -> None:
    """Turns off progress bars, since we show our own, and reports of what we refuse ourselves."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def files_of(folder: Path) -> list[Path]:
    """The files of a folder that are read.

    Raises:
        ModelError: one of them is not a regular file; reading a pipe would block.
    """
    files = sorted({file for pattern in FILES for file in folder.glob(pattern) if not file.is_dir()})
    for file in files:
        if not file.is_file():
            raise ModelError(f"{file.name} is not a regular file: replace it with the model's own")
    return files


def judge(folder: Path) -> None:
    """Checks a folder by its config.json and file names, without reading weights.

    Raises:
        ModelError: the cause and the mend; the caller names the model.
    """
    files_of(folder)
    config = read_json(folder / "config.json")
    adapters = [name for name in ADAPTERS if (folder / name).exists()]
    if adapters:
        raise ModelError(
            f"it has {adapters[0]} beside the weights: merge the adapter and save the merged model"
        )
    judge_config(config)


def judge_config(config: Mapping[str, Any]) -> None:
    """Checks a config before anything is built from it.

    Raises:
        ModelError: as `judge`.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise ModelError("its config names no model_type: get a new copy of config.json")
    if kind not in SUPPORTED:
        named = config.get("architectures")
        architecture = str(named[0] if isinstance(named, list) and named else kind)[:80]
        raise ModelError(f"{not_supported(architecture)}; choose another --model")
    for key in ("quantization_config", "compression_config"):
        if config.get(key) is not None:
            raise ModelError(f"its weights are quantised ({key}): use the model that it was made from")
    if config.get("transformers_weights") is not None:
        raise ModelError(f"its config names its own file of weights: rename that file to {WEIGHTS}")
    for keys, largest in BOUNDS.items():
        for key in keys:
            value = config.get(key)
            if value is not None and (type(value) is not int or not 1 <= value <= largest):
                raise ModelError(
                    f"'{key}' in its config is {str(value)[:40]}, not a whole number from 1 to "
                    f"{largest}: get a new copy of config.json"
                )


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file of reasonable size.

    Raises:
        ModelError: the file cannot be read, is too large or does not hold one.
    """
    try:
        size = file.stat().st_size
        if size > LARGEST_JSON:
            raise ModelError(f"{file.name} is {size / 1e6:.0f} MB, which is too large: get a new copy")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file.name} is not valid JSON ({first_line(error)}): get a new copy") from error
    except OSError as error:
        raise ModelError(f"{file.name} cannot be read ({error.strerror}): get a new copy") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file.name} does not hold a JSON object: get a new copy")
    return content


def empty_model(folder: Path) -> Any:
    """A folder's model, checked and without weights, on torch's meta device, where nothing is allocated.

    Raises:
        ModelError: as `judge`, or a part of the architecture is not supported.
    """
    from transformers import AutoConfig

    judge(folder)
    return empty_of(AutoConfig.from_pretrained(folder, trust_remote_code=False))


def empty_of(config: Any) -> Any:
    """The model of a config, on torch's meta device.

    Raises:
        ModelError: a part of the architecture is not supported.
    """
    from transformers import AutoModelForCausalLM

    try:
        check_supported(SUPPORTED[config.model_type], config)
    except ValueError as error:
        raise ModelError(f"{error}; choose another --model") from error
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def shards(folder: Path) -> dict[str, set[str] | None]:
    """The safetensors files of a folder, each with its tensors by the index; None if there is no index.

    Raises:
        ModelError: the index is damaged.
    """
    if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
        return {WEIGHTS: None}
    placed = read_json(folder / INDEX).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise ModelError(f"{INDEX} maps no tensor to a file: get a new copy")
    files: dict[str, set[str] | None] = {}
    for tensor, name in sorted(placed.items()):
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(
                f"{INDEX} names '{str(name)[:80]}', which is not a safetensors file beside it: get a new copy"
            )
        files[name] = (files.get(name) or set()) | {tensor}
    return files


def check_weights(stored: Mapping[str, Stored], empty: Any) -> None:
    """Checks a file's list of tensors against the model that they should fill; no weight is read.

    Args:
        stored: the tensors by name.
        empty: the model, as `empty_model` makes it.

    Raises:
        ModelError: the two differ in a tensor, or a weight is not stored as plain floats.
    """
    expected = empty.state_dict(keep_vars=True)
    found: set[str] = set()
    for name, (kind, shape) in stored.items():
        if _is_buffer(name):
            continue
        if kind not in FLOATS:
            raise ModelError(
                f"its weight {name} is stored as {kind}, not as plain floats: "
                "use the model that it was quantised from"
            )
        weight = name if name in expected else f"{empty.base_model_prefix}.{name}"
        if weight not in expected or weight in found:
            raise ModelError(_unexpected(name))
        if shape != tuple(expected[weight].shape):
            raise ModelError(
                f"its weight {name} has the shape {shape}, but its config expects "
                f"{tuple(expected[weight].shape)}: {OF_ONE}"
            )
        found.add(weight)
    filled = {id(expected[weight]) for weight in found}  # tied weights are one tensor under two names
    missing = [weight for weight, tensor in expected.items() if id(tensor) not in filled]
    if missing:
        raise ModelError(_missing(missing[0]))


def headers(folder: Path) -> dict[str, Stored]:
    """The tensors that a folder's safetensors files list in their headers.

    Raises:
        ModelError: a file is missing, is damaged, or holds other tensors than the index says.
    """
    from safetensors import safe_open

    tensors: dict[str, Stored] = {}
    for name, listed in shards(folder).items():
        _check_file(folder, name)
        with told_of(f"{name} cannot be read", "get a new copy"), safe_open(folder / name, "pt") as file:
            slices = {tensor: file.get_slice(tensor) for tensor in sorted(file.keys())}
            held = {tensor: (s.get_dtype(), tuple(s.get_shape())) for tensor, s in slices.items()}
        if listed is not None and held.keys() != listed:
            raise ModelError(
                f"{name} and {INDEX} differ ({min(held.keys() ^ listed)}): get new copies of both"
            )
        tensors |= held
    return tensors


def _is_buffer(name: str) -> bool:
    return any(re.search(rf"(^|\.){buffer}$", name) for buffer in BUFFERS)


def _check_file(folder: Path, name: str) -> None:
    if not (folder / name).exists():
        other = [f.name for f in folder.iterdir() if f.suffix in OTHER_FORMATS]
        instead = min(other, default="pytorch_model.bin or the like")
        raise ModelError(f"it has no {name}, and {instead} is not read: save the weights as safetensors")
    if not (folder / name).is_file():
        raise ModelError(f"{name} is not a regular file: replace it with the model's own")


def _unexpected(weight: str) -> str:
    return f"its config leaves out the weight {weight}: {OF_ONE}"


def _missing(weight: str) -> str:
    return f"it lacks the weight {weight}: {OF_ONE}"


def _unfit(weight: str) -> str:
    return f"its weight {weight} does not have the shape that its config expects: {OF_ONE}"


def check_report(report: Mapping[str, Any]) -> None:
    """Checks transformers' report of what it did with the weights.

    Raises:
        ModelError: a weight was ignored, made up, or does not fit.
    """
    for key, says in (
        ("missing_keys", _missing),
        ("mismatched_keys", _unfit),
        ("unexpected_keys", _unexpected),
    ):
        names = (str(name[0] if isinstance(name, tuple) else name) for name in report[key])
        lost = sorted(name for name in names if not _is_buffer(name))
        if lost:
            raise ModelError(says(lost[0]))


def check_tokenizer_files(folder: Path) -> None:
    """Refuses a folder for which transformers would make up a tokenizer.

    Raises:
        ModelError: no group of `TOKENIZERS` is complete.
    """
    if not any(all((folder / name).is_file() for name in group) for group in TOKENIZERS):
        raise ModelError("it has no tokenizer: add its tokenizer.json to the folder")


def check_tokenizer(tokenizer: Any) -> None:
    """Refuses a tokenizer without words.

    Raises:
        ModelError: its vocabulary has only special tokens.
    """
    if not tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens):
        raise ModelError("its tokenizer has nothing but special tokens: get a new copy of tokenizer.json")


def check_finite(masked: MaskedModel) -> None:
    """Checks every weight, then the logits of a few tokens spread over the vocabulary.

    Raises:
        ModelError: a weight or a logit is not finite.
    """
    broken = [weight for weight, values in masked.weights.items() if not values.isfinite().all()]
    if broken:
        raise ModelError(f"it has weights that are not finite ({broken[0]}): get a new copy")
    arch = masked.architecture
    tokens = torch.linspace(0, arch.d_vocab - 1, min(8, arch.n_ctx), device=masked.device).long()
    with torch.no_grad():
        logits = masked.run(tokens[None])
    if not logits.isfinite().all():
        raise ModelError(
            "its logits on a few tokens are not finite: get a new copy, or choose another --dtype"
        )
