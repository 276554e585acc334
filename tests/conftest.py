"""Shapes are checked when tests run (jaxtyping + beartype); models that several tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jaxtyping import install_import_hook

ROOMS = ["bench", "methods", "tasks", "reports", "tracr_ground_truth"]
# before any room is imported; stays for the whole session
install_import_hook(ROOMS, "beartype.beartype").__enter__()

import pytest  # noqa: E402
import torch  # noqa: E402

from bench.masked_model import MaskedModel  # noqa: E402
from bench.models.bridge import masked_model  # noqa: E402
from bench.models.load import load_model  # noqa: E402
from bridge_oracle import tiny_gpt2  # noqa: E402
from gguf_files import tiny_llama, write_gguf  # noqa: E402

torch.set_num_threads(1)  # on tensors this small a second thread only waits


@pytest.fixture(scope="session")
def tiny() -> MaskedModel:
    """Two layers, four heads, float64, every weight random."""
    return masked_model(tiny_gpt2(n_layer=2))


@pytest.fixture(scope="session")
def gguf_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small file that is read without complaint."""
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(file, tiny_llama())
    return file.read_bytes()


@pytest.fixture
def gguf_file(gguf_bytes: bytes, tmp_path: Path) -> Path:
    """A small GGUF file, in a folder of its own with a space in its name."""
    folder = tmp_path / "my models"
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(gguf_bytes)
    return folder / "tiny.gguf"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of its own for each test; it is not there yet. No model is remembered."""
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path / "cache"))
    load_model.cache_clear()
    yield tmp_path / "cache"
    load_model.cache_clear()
