"""How much memory a model takes: a formula, checked against measured steps by `make bench`.

A step is what methods do: a masked forward under resample ablation and a backward pass to the edge mask, with
one answer per prompt. T stands for tokens (examples times positions), S for senders, R for receivers.
"""

from __future__ import annotations

import torch

from bench.engine.architecture import Architecture
from bench.engine.masked_model import KEEP_BYTES
from bench.errors import ModelError


def parameters(arch: Architecture) -> dict[str, int]:
    """Parameters of embeddings, attention, MLPs and unembedding. Norms and biases are too few to matter."""
    d, heads = arch.d_model, arch.n_heads + 2 * arch.n_kv_heads
    return {
        "embed": arch.d_vocab * d,
        "attention": arch.n_layers * d * arch.d_head * (heads + arch.n_heads),
        "mlp": arch.n_layers * d * arch.d_mlp * (3 if arch.gated else 2),
        "unembed": arch.d_vocab * d,
    }


def step_bytes(
    arch: Architecture, examples: int, pos: int, itemsize: int, keep_bytes: int = KEEP_BYTES
) -> dict[str, int]:
    """Bytes of a step by purpose.

    - weights: all parameters;
    - senders: the references, the buffer and its gradient, S * T * d_model each;
    - inputs: what receivers read, R * T * d_model, and what blocks compute from it, both kept only if the
      former is at most `keep_bytes`; otherwise one base per block;
    - block: the largest block's gradients and, if inputs are not kept, its recomputed activations;
    - masks: the edges, their mask with and without base's column, and gradients, R * S * 4 bytes each;
    - logits: the answers' logits, their softmax and gradients.

    Args:
        arch: the model's shape.
        examples: prompts in a batch, with one answer each.
        pos: tokens of a prompt.
        itemsize: bytes per number: 4 for float32, 2 for bfloat16.
        keep_bytes: as `MaskedModel.keep_bytes`.
    """
    graph, tokens = arch.graph(), examples * pos
    width = tokens * arch.d_model * itemsize
    rows = arch.n_heads + 2 * arch.n_kv_heads
    hidden = tokens * itemsize * (5 * rows * arch.d_head + 4 * arch.d_mlp)
    outputs = arch.n_heads * width
    read = len(graph.receivers) * width
    block = 2 * (rows * width + outputs + hidden)
    if read <= keep_bytes:
        read, block = read + arch.n_layers * hidden, rows * width + outputs
    else:
        read = 2 * arch.n_layers * width
    return {
        "weights": sum(parameters(arch).values()) * itemsize,
        "senders": 3 * (1 + len(graph.senders)) * width,
        "inputs": read,
        "block": block,
        "masks": 5 * len(graph.receivers) * len(graph.senders) * max(4, itemsize),
        "logits": 4 * examples * arch.d_vocab * itemsize,
    }


def memory_budget(device: torch.device) -> int:
    """Bytes that a method's caches may take: 4 GiB, or a quarter of the free memory if that is less."""
    import psutil

    if device.type == "cuda":
        return min(2**32, torch.cuda.mem_get_info(device)[0] // 4)
    return min(2**32, int(psutil.virtual_memory().available) // 4)


def refuse_too_little(arch: Architecture, pos: int, itemsize: int, device: torch.device) -> None:
    """Refuses a GPU on which not even one prompt's step fits beside the weights that it already holds.

    Args:
        arch: the model's shape.
        pos: tokens of a prompt.
        itemsize: bytes per number.
        device: where the model is; only GPUs are refused.

    Raises:
        ModelError: too little is free; the message says how much, and how much is needed.
    """
    if device.type != "cuda":
        return
    parts = step_bytes(arch, 1, pos, itemsize, keep_bytes=0)
    needed = sum(parts.values()) - parts["weights"]
    # what torch has cached is free to us
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + idle
    if needed > free:
        raise ModelError(
            f"one prompt of {pos} tokens needs about {needed / 1e9:.1f} GB of GPU memory beside the "
            f"weights, but only {free / 1e9:.1f} GB are free: choose a smaller model, --dtype bfloat16 or "
            "--device cpu"
        )


def refuse_too_large(name: str, n_parameters: int, dtype: torch.dtype, device: str) -> None:
    """Refuses a model whose weights do not fit, before they are read.

    They are needed twice in main memory (as read, and in our layout), once on the device.

    Args:
        name: of the model, for the message.
        n_parameters: its number of parameters.
        dtype: in which they are loaded.
        device: where it will run.

    Raises:
        ModelError: too little is free; the message says how much, and how much is needed.
    """
    size = n_parameters * dtype.itemsize
    places = [(torch.device("cpu"), 2 * size)]
    if torch.device(device).type == "cuda":
        places.append((torch.device(device), size))
    for place, needed in places:
        named, free = _free(place)
        if needed > free:
            raise ModelError(
                f"the model '{name}' needs about {needed / 1e9:.1f} GB of {named} to be loaded in "
                f"{str(dtype).removeprefix('torch.')}, but only {free / 1e9:.1f} GB are free: choose a "
                "smaller model, or --dtype bfloat16"
            )


def refuse_copies(name: str, arch: Architecture, dtype: torch.dtype, device: torch.device) -> None:
    """Refuses keys and values per query head if the copies for them do not fit beside the model.

    Queries share a tensor with them and are copied as well (`MaskedModel.with_kv_per_head`).

    Args:
        name: of the model, which is already loaded, for the message.
        arch: its shape; if each query head has a key of its own, nothing is copied.
        dtype: of its weights.
        device: where it is.

    Raises:
        ModelError: too little is free; the message says how much, and how much is needed.
    """
    if arch.n_kv_heads == arch.n_heads:
        return
    needed = copied_per_head(arch) * dtype.itemsize
    named, free = _free(device)
    if needed > free:
        raise ModelError(
            f"the model '{name}' needs about {needed / 1e9:.1f} GB more of {named} with keys and values per "
            f"query head, but only {free / 1e9:.1f} GB are free: leave --kv per_head out, choose a smaller "
            "model, or --dtype bfloat16"
        )


def copied_per_head(arch: Architecture) -> int:
    """Parameters of queries, keys and values, one of each per query head; biases are too few to matter."""
    return arch.n_layers * 3 * arch.n_heads * arch.d_model * arch.d_head


def _free(device: torch.device) -> tuple[str, int]:
    """The name of a device's memory, and how many bytes of it are free."""
    if device.type == "cuda":
        return "GPU memory", torch.cuda.mem_get_info(device)[0]
    import psutil

    return "main memory", int(psutil.virtual_memory().available)
