"""Models that several tests share; with CIRCUITMARK_SHAPES=1, annotated shapes and types are checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from jaxtyping import install_import_hook

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # of commands that tests start: on few cores more only wait

ROOMS = ["bench", "methods", "tasks", "reports", "tracr_ground_truth"]
if os.environ.get("CIRCUITMARK_SHAPES") == "1":
    # before any room is imported; stays for the whole session
    install_import_hook(ROOMS, "beartype.beartype").__enter__()

import pytest  # noqa: E402
import torch  # noqa: E402

import tiny_models  # noqa: E402
from bench.engine.masked_model import MaskedModel  # noqa: E402
from bench.models.bridge import masked_model  # noqa: E402
from bench.models.load import load_model  # noqa: E402
from bench.models.tiny import decoder  # noqa: E402
from bridge_oracle import tiny_gpt2  # noqa: E402
from command_line import CommandLine  # noqa: E402
from decoders import FAMILIES, Case, case_of  # noqa: E402
from gguf_files import tiny_llama, write_gguf  # noqa: E402
from naive_decoder import in_float64  # noqa: E402
from reports.parts.content import Drawing  # noqa: E402

torch.set_num_threads(1)  # on tensors this small a second thread only waits


@pytest.fixture(scope="session")
def tiny() -> MaskedModel:
    """Two layers, four heads, float64, every weight random."""
    return masked_model(tiny_gpt2(n_layer=2))


@pytest.fixture(scope="session")
def gpt2() -> MaskedModel:
    """The GPT-2 among the supported architectures, in float64."""
    return masked_model(decoder("GPT2"))


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


LOOKED_AT = {"test_reports", "test_house"}
"""Folders of tests in which figures are drawn."""


@pytest.fixture(autouse=True)
def figures_only_where_they_are_looked_at(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere a report is written as if each figure failed, which takes a third of the time."""
    if request.path.parent.name not in LOOKED_AT:
        monkeypatch.setattr("reports.render._files", _not_drawn)


def _not_drawn(path: str, drawing: Drawing) -> dict[str, bytes]:
    raise NotImplementedError("figures are looked at elsewhere")


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> CommandLine:
    """The command line in an empty folder."""
    return CommandLine(tmp_path, monkeypatch, capfd)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """References compute in float64 throughout."""
    in_float64(monkeypatch)


@pytest.fixture
def saves_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are written whenever a method offers one."""
    monkeypatch.setattr("bench.discovery.checkpoint.SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr("bench.discovery.checkpoint.SHARE_OF_TIME", float("inf"))


@pytest.fixture(params=FAMILIES)
def supported(request: pytest.FixtureRequest, exact: None) -> Case:
    """Each supported architecture in turn."""
    return case_of(request.param)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def either(request: pytest.FixtureRequest) -> tiny_models.Tiny:
    """A random GPT-2 with its oracle, in both precisions."""
    return tiny_models.tiny(request.param)


@pytest.fixture
def case() -> tiny_models.Tiny:
    """The same in float64."""
    return tiny_models.tiny()


@pytest.fixture(params=[False, True], ids=["joint", "split"])
def counted(request: pytest.FixtureRequest) -> tiny_models.Tiny:
    """The same in float64, with the embedding as one sender and as two."""
    return tiny_models.tiny(split_embed=request.param)
