"""Shapes are checked when tests run (jaxtyping + beartype); models that several tests share."""

from __future__ import annotations

from jaxtyping import install_import_hook

ROOMS = ["bench", "methods", "tasks", "reports", "tracr_ground_truth"]
# before any room is imported; stays for the whole session
install_import_hook(ROOMS, "beartype.beartype").__enter__()

import pytest  # noqa: E402
import torch  # noqa: E402

from bench.masked_model import MaskedModel  # noqa: E402
from bench.models.bridge import masked_model  # noqa: E402
from bridge_oracle import tiny_gpt2  # noqa: E402

torch.set_num_threads(1)  # on tensors this small a second thread only waits


@pytest.fixture(scope="session")
def tiny() -> MaskedModel:
    """Two layers, four heads, float64, every weight random."""
    return masked_model(tiny_gpt2(n_layer=2))
