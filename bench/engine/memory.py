"""How much memory a model takes: a formula, checked against measured steps by `make bench`.

The step is a method's: a masked forward under resample ablation and a backward pass to the edge mask, at
one answer per prompt. T stands for tokens (examples times positions), S for senders, R for receivers.
"""

from __future__ import annotations

import torch

from bench.engine.architecture import Architecture
from bench.engine.masked_model import KEEP_BYTES
from bench.errors import ModelError


def parameters(arch: Architecture) -> dict[str, int]:
    """Numbers per part: embeddings, attention, MLPs, unembedding. Norms and biases are too few to count."""
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
    """Bytes of a step by what they are for.

    - weights: all parameters;
    - senders: the references, the buffer and its gradient, S * T * d_model each;
    - inputs: what receivers read, R * T * d_model, kept only while below `keep_bytes`,
      along with what a block computes from it;
    - block: what the largest block computes and its gradients, where it is not kept;
    - masks: edges, as a mask, with constants, and their gradients, R * S * 4 bytes each;
    - logits: of the answers, their softmax and gradients.

    Args:
        arch: the model's shape.
        examples: prompts in a batch, with one answer each.
        pos: tokens of a prompt.
        itemsize: bytes of a number: 4 for float32, 2 for bfloat16.
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
    """Bytes that a method's caches may take: 4 GiB, or a quarter of what is free where that is less."""
    import psutil

    if device.type == "cuda":
        return min(2**32, torch.cuda.mem_get_info(device)[0] // 4)
    return min(2**32, int(psutil.virtual_memory().available) // 4)


def refuse_too_little(arch: Architecture, pos: int, itemsize: int, device: torch.device) -> None:
    """Refuses a card on which not even one prompt's step fits beside the weights that it holds already.

    Args:
        arch: the model's shape.
        pos: tokens of a prompt.
        itemsize: bytes of a number.
        device: where the model is; nothing but a card is refused.

    Raises:
        ModelError: it says what is needed and what is free.
    """
    if device.type != "cuda":
        return
    parts = step_bytes(arch, 1, pos, itemsize, keep_bytes=0)
    needed = sum(parts.values()) - parts["weights"]
    # what torch keeps for later is free to us
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

    They are needed twice in main memory (as read, and as laid out for us), once on the device.

    Args:
        name: of the model, for the message.
        n_parameters: numbers that it has.
        dtype: in which they are read.
        device: where it is to run.

    Raises:
        ModelError: it says what is needed and what is free.
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
    """Refuses keys and values per query head where what is copied for them does not fit beside the model.

    Queries stand in one tensor with them and are copied as well (`MaskedModel.with_kv_per_head`).

    Args:
        name: of the model, which is loaded already, for the message.
        arch: its shape; where each query head has a key of its own nothing is copied.
        dtype: of its weights.
        device: where it is.

    Raises:
        ModelError: it says what is needed and what is free.
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
    """Numbers of all queries, keys and values, one of each per query head; biases are too few to count."""
    return arch.n_layers * 3 * arch.n_heads * arch.d_model * arch.d_head


def _free(device: torch.device) -> tuple[str, int]:
    """The memory of a device, in words, and the bytes of it that are free."""
    if device.type == "cuda":
        return "GPU memory", torch.cuda.mem_get_info(device)[0]
    import psutil

    return "main memory", int(psutil.virtual_memory().available)
