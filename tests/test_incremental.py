"""Incremental runs against the whole masked forward: every removal, on every shape, in any order."""

from __future__ import annotations

import pytest
import torch

from bench.architecture import Architecture
from bench.masked_model import MaskedModel
from tiny_models import TRACR, random_model

DECODERS = {
    "gpt2": Architecture(2, 3, 3, 12, 4, 8, 10, "gelu_new"),
    "grouped": Architecture(2, 4, 2, 12, 4, 8, 10, "silu", norm="none", qk_norm=False),
    "parallel": Architecture(3, 2, 2, 12, 4, 8, 10, "gelu", parallel=True),
    "coupled": Architecture(2, 3, 3, 12, 4, 8, 10, "gelu", post_norm=True, score_cap=5.0, logit_cap=3.0),
    "compiled": TRACR,
}
EXAMPLES = torch.arange(4)


@pytest.fixture(scope="module", params=DECODERS)
def model(request: pytest.FixtureRequest) -> MaskedModel:
    arch = DECODERS[request.param]
    made = random_model(arch)
    for layer in range(arch.n_layers if arch.post_norm else 0):
        for block in (f"a{layer}", f"m{layer}"):
            made.weights[f"{block}.post.w"] = torch.randn(arch.d_model, dtype=torch.float64)
    return made
