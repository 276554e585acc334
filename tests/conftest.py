"""Shapes are checked when tests run (jaxtyping + beartype); models that several tests share."""

from __future__ import annotations

import warnings

from jaxtyping import install_import_hook

ROOMS = ["bench", "methods", "tasks", "reports", "tracr_ground_truth"]
# before any room is imported; stays for the whole session
install_import_hook(ROOMS, "beartype.beartype").__enter__()

import pytest  # noqa: E402
import torch  # noqa: E402
from transformers import GPT2Config, GPT2LMHeadModel  # noqa: E402

from bench.masked_model import MaskedModel  # noqa: E402
from bench.models.bridge import masked_model  # noqa: E402

warnings.filterwarnings("ignore", module="transformer_lens")
torch.set_num_threads(1)


def tiny_gpt2(seed: int = 0, **shape: int) -> GPT2LMHeadModel:
    """A small GPT-2 whose every weight is random, biases and norms too, so that none hides a fault."""
    torch.manual_seed(seed)
    defaults = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 50, "n_positions": 16}
    config = GPT2Config(**(defaults | shape), bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model


@pytest.fixture(scope="session")
def tiny() -> MaskedModel:
    """Two layers, four heads, float64."""
    return masked_model(tiny_gpt2()).to(dtype=torch.float64)
