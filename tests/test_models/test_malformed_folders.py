"""Folders that are not one whole model: each is refused in one line, and none hangs."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import ModelError
from bench.models.bridge import SUPPORTED
from bench.models.load import load_model
from bench.models.tiny import decoder
from bench.models.whole import (
    INDEX,
    LARGEST_JSON,
    WEIGHTS,
    check_weights,
    empty_model,
    headers,
    told_of,
)
from command_line import CommandLine
from model_folders import (
    VOCABULARY,
    both,
    config,
    edit,
    filled,
    good_folder,
    replaced,
    sharded,
    text,
    weight,
    within,
    without,
)

pytestmark = pytest.mark.usefixtures("cache")

MLP = "transformer.h.1.mlp.c_fc.weight"
SPECIAL_ONLY = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [
            {"id": 0, "content": "[PAD]", "special": True, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False}
        ],
        "model": {"type": "WordLevel", "vocab": {"[PAD]": 0}, "unk_token": "[PAD]"},
    }
)  # fmt: skip

WEIGHTS_SPOILED = {
    "half of the layers": (config(n_layer=1), "leaves out the weight transformer.h.1."),
    "a layer too many": (config(n_layer=3), "lacks the weight transformer.h.2."),
    "a weight missing": (weight(MLP, lambda _: None), f"lacks the weight {MLP}"),
    "a bias missing": (weight("transformer.ln_f.bias", lambda _: None), "lacks the weight .*ln_f.bias"),
    "the embedding missing": (weight("transformer.wte.weight", lambda _: None), "lacks the weight"),
    "untied, and no head": (config(tie_word_embeddings=False), "lacks the weight lm_head.weight"),
    "a weight too many": (weight("adapter.lora_A", lambda t: t), "leaves out the weight adapter.lora_A"),
    "one weight twice": (weight(MLP[12:], lambda _: torch.ones(16, 64)), "leaves out the weight"),
    "a shape cut": (weight(MLP, lambda t: t[:, :-1].clone()), r"shape \(16, 63\), .* expects \(16, 64\)"),
    "a shape turned": (weight(MLP, lambda t: t.T.contiguous()), "has the shape"),
    "a wider config": (config(n_embd=32), "has the shape"),
    "a smaller vocabulary": (config(vocab_size=500), r"shape \(732, 16\), .* \(500, 16\)"),
    "int8": (weight(MLP, lambda t: t.to(torch.int8)), "stored as I8"),
    "uint8": (weight(MLP, lambda t: t.to(torch.uint8)), "stored as U8"),
    "int32": (weight(MLP, lambda t: t.to(torch.int32)), "stored as I32"),
    "bool": (weight(MLP, lambda t: t > 0), "stored as BOOL"),
    "float8": (weight(MLP, lambda t: t.to(torch.float8_e4m3fn)), "stored as F8_E4M3"),
    "nan": (weight(MLP, filled(float("nan"))), r"not finite \(m1.W_in\)"),
    "infinite": (weight(MLP, filled(float("-inf"))), r"not finite \(m1.W_in\)"),
    "too large for float32": (weight(MLP, lambda t: t.double() * 1e300), r"not finite \(m1.W_in\)"),
    "logits overflow": (weight("transformer.wte.weight", lambda t: t * 1e38), "logits .* not finite"),
    "no file": (without(WEIGHTS), "no model.safetensors, and pytorch_model.bin or the like is not read"),
    "a pickle": (both(without(WEIGHTS), text("pytorch_model.bin", b"x")), "pytorch_model.bin is not read"),
    "a checkpoint": (both(without(WEIGHTS), text("last.pt", b"x")), "and last.pt is not read"),
    "a pipe": (replaced(WEIGHTS, os.mkfifo), "model.safetensors is not a regular file"),
    "a broken link": (replaced(WEIGHTS, lambda f: f.symlink_to("gone")), "is not a regular file"),
    "a folder": (replaced(WEIGHTS, Path.mkdir), "model.safetensors is not a regular file"),
    "empty": (text(WEIGHTS, b""), "model.safetensors cannot be read: "),
    "zeros": (text(WEIGHTS, bytes(5000)), "model.safetensors cannot be read: "),
    "a huge header": (text(WEIGHTS, b"\xff" * 5000), "model.safetensors cannot be read: "),
    "shard missing": (
        both(sharded(lambda files, index: None), without("two.safetensors")), "has no two.safetensors",
    ),
    "shard not listed": (sharded(lambda files, index: index.pop(MLP)), "differ"),
    "shard of another": (sharded(lambda files, index: index.update({MLP: "one.safetensors"})), "differ"),
    "in two shards": (
        sharded(lambda files, index: files["one.safetensors"].update({MLP: files["two.safetensors"][MLP]})),
        "differ",
    ),
    "shard elsewhere": (
        sharded(lambda files, index: index.update({MLP: "../two.safetensors"})), "not a safetensors file",
    ),
    "shard of a pickle": (
        sharded(lambda files, index: index.update({MLP: "x.bin"})), "not a safetensors file",
    ),
    "shard of a number": (sharded(lambda files, index: index.update({MLP: 3})), "not a safetensors file"),
    "index of nothing": (both(without(WEIGHTS), text(INDEX, "{}")), "maps no tensor"),
    "index no JSON": (both(without(WEIGHTS), text(INDEX, "{")), "is not valid JSON"),
}  # fmt: skip
OTHERS_SPOILED = {
    "n_layer of a million": (config(n_layer=10**6), "'n_layer' in its config is 1000000"),
    "vocab_size of a milliard": (config(vocab_size=10**9), "'vocab_size' in its config is 1000000000"),
    "n_embd negative": (config(n_embd=-16), "'n_embd' in its config is -16"),
    "n_head zero": (config(n_head=0), "'n_head' in its config is 0"),
    "n_layer a word": (config(n_layer="two"), "'n_layer' in its config is two"),
    "n_layer a fraction": (config(n_layer=2.5), "'n_layer' in its config is 2.5"),
    "n_layer true": (config(n_layer=True), "'n_layer' in its config is True"),
    "n_layer a list": (config(n_layer=[2] * 99), r"'n_layer' in its config is \[2"),
    "heads that do not divide": (config(n_head=3), "cannot be loaded: "),
    "epsilon not a number": (config(layer_norm_epsilon=float("nan")), "logits"),
    "epsilon a word": (config(layer_norm_epsilon="small"), "cannot be loaded: "),
    "an activation of its own": (config(activation_function="mine"), "the activation 'mine'"),
    "another model_type": (config(model_type="llama"), "cannot be loaded: "),
    "an unknown model_type": (
        both(
            config(model_type="mine", architectures=["Mine"], auto_map={"AutoConfig": "modeling.Mine"}),
            text("modeling.py", "raise SystemExit('nobody runs this')"),
        ),
        "the architecture Mine is not supported yet",
    ),
    "a model_type that is none": (config(model_type=["gpt2"]), "names no model_type"),
    "no model_type": (text("config.json", "{}"), "names no model_type"),
    "quantised": (config(quantization_config={"quant_method": "gptq"}), "quantised"),
    "compressed": (config(compression_config={"format": "int"}), "quantised"),
    "weights of another name": (config(transformers_weights="x.bin"), "names its own file of weights"),
    "an adapter": (text("adapter_config.json", "{}"), "adapter_config.json beside the weights: merge"),
    "an adapter's weights": (text("adapter_model.safetensors", b"x"), "adapter_model.safetensors beside"),
    "config no JSON": (text("config.json", "{'n_layer': 2}"), "config.json is not valid JSON"),
    "config cut": (text("config.json", '{"n_layer": 2'), "config.json is not valid JSON"),
    "config empty": (text("config.json", ""), "config.json is not valid JSON"),
    "config a list": (text("config.json", "[]"), "config.json does not hold a JSON object"),
    "config deep": (text("config.json", '{"a":' * 99999), "config.json is not valid JSON"),
    "config no text": (text("config.json", b"\xff\xfe{}"), "config.json is not valid JSON"),
    "config huge": (text("config.json", b" " * (LARGEST_JSON + 1)), "config.json is 17 MB"),
    "config a pipe": (replaced("config.json", os.mkfifo), "config.json is not a regular file"),
    "config a folder": (replaced("config.json", Path.mkdir), "config.json cannot be read"),
    "another file a pipe": (lambda folder: os.mkfifo(folder / "more.json"), "json is not a regular file"),
    "no tokenizer": (without("tokenizer.json"), "has no tokenizer"),
    "half a tokenizer": (both(without("tokenizer.json"), text("vocab.json", "{}")), "has no tokenizer"),
    "tokenizer of special tokens": (
        both(text("tokenizer.json", SPECIAL_ONLY), text("tokenizer_config.json", '{"pad_token": "[PAD]"}')),
        "nothing but special tokens",
    ),
    "tokenizer no JSON": (text("tokenizer.json", "{"), "its tokenizer cannot be read: "),
    "tokenizer of nothing": (text("tokenizer.json", "{}"), "its tokenizer cannot be read: "),
    "tokenizer a pipe": (replaced("tokenizer.json", os.mkfifo), "tokenizer.json is not a regular file"),
    "tokenizer_config no JSON": (text("tokenizer_config.json", "{"), "its tokenizer cannot be read: "),
}  # fmt: skip
SPOILED = WEIGHTS_SPOILED | OTHERS_SPOILED


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return good_folder(tmp_path_factory.mktemp("good"))


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "model"))


@pytest.mark.parametrize("fault", SPOILED)
def test_a_folder_that_is_not_one_whole_model(
    fault: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil, expected = SPOILED[fault]
    spoil(folder)
    with within(20), pytest.raises(ModelError, match=expected) as refusal:
        load_model(str(folder))
    line = str(refusal.value)
    assert line.startswith(f"the model '{folder}' cannot be loaded: ")
    assert len(line.splitlines()) == 1
    assert len(line) < 500
    assert capfd.readouterr() == ("", ""), "transformers says it once more"


@pytest.mark.parametrize(
    "fault", ["half of the layers", "a pickle", "a pipe", "config a pipe", "no tokenizer"]
)
def test_a_command_says_it_in_one_line(fault: str, folder: Path, command: CommandLine) -> None:
    """And neither stores anything nor waits for a pipe while it makes the model's hash."""
    spoil, expected = SPOILED[fault]
    spoil(folder)
    with within(30):
        assert re.search(expected, command.complaint("run", "--model", str(folder), "-t", "gp"))


def test_the_same_folder_unspoiled(folder: Path) -> None:
    """What the faults are planted in is read; so are shards, and weights under their short names."""
    assert load_model(str(folder)).masked.architecture.n_layers == 2
    sharded(lambda files, index: None)(folder)
    load_model.cache_clear()
    assert load_model(str(folder)).masked.architecture.d_vocab == VOCABULARY


def test_what_a_file_may_hold_beyond_its_weights(folder: Path) -> None:
    """The hub's GPT-2 stores causal masks, and names no `transformer.`."""
    expected = load_model(str(folder)).masked.run(torch.arange(9)[None])
    from safetensors.torch import load_file, save_file

    tensors = {name.removeprefix("transformer."): t for name, t in load_file(folder / WEIGHTS).items()}
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 64, 64, dtype=torch.uint8) for i in range(2)}
    masks |= {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(2)}
    save_file(tensors | masks, folder / WEIGHTS, {"format": "pt"})
    load_model.cache_clear()
    assert torch.equal(load_model(str(folder)).masked.run(torch.arange(9)[None]), expected)


@pytest.mark.parametrize("key", ["missing_keys", "unexpected_keys", "mismatched_keys"])
def test_what_transformers_reports_is_heeded(folder: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should it read a file in another way than we hold it to."""
    from transformers import AutoModelForCausalLM

    read = AutoModelForCausalLM.from_pretrained

    def reading(*args: Any, **options: Any) -> Any:
        found: Any = read(*args, **options)
        model, report = found
        return model, report | {key: {("a.weight", 1, 2) if key == "mismatched_keys" else "a.weight"}}

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", reading)
    with pytest.raises(ModelError, match=r"weight a\.weight"):
        load_model(str(folder))


def test_a_pad_token_beyond_the_vocabulary(folder: Path) -> None:
    """One that was added to the tokenizer, and the embedding left as it was: padding is never read."""
    from tasks import find_tasks

    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    token = dict(tokenizer["added_tokens"][0], id=VOCABULARY, content="[MORE]")
    tokenizer["added_tokens"].append(token)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    edit(folder / "tokenizer_config.json", pad_token="[MORE]")
    loaded = load_model(str(folder))
    assert loaded.tokenizer.pad_token_id == VOCABULARY
    examples = find_tasks()["ioi"]().examples(loaded.tokenizer, "discovery", 50, 0)
    assert len(set(examples.lengths.tolist())) > 1
    assert max(examples.clean.max(), examples.corrupted.max()) < VOCABULARY
    assert loaded.masked.run(torch.tensor(examples.clean)).isfinite().all()


def test_bounds_leave_room_for_models_that_there_are(tmp_path: Path) -> None:
    """A config of every carried architecture passes, one of 80 layers and a vocabulary of 256,000 too."""
    for kind in ("GPT2", "Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "GPTNeoX", "Phi"):
        decoder(kind).config.save_pretrained(tmp_path)
        assert type(empty_model(tmp_path)).__name__ in SUPPORTED.values()
    edit(tmp_path / "config.json", vocab_size=256_000, num_hidden_layers=80, max_position_embeddings=2**20)
    assert empty_model(tmp_path).config.num_hidden_layers == 80


FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(size=st.floats(0, 0.9999))
def test_weights_cut_anywhere(size: float, good: Path, tmp_path: Path) -> None:
    content = (good / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[: int(size * len(content))])
    with pytest.raises(ModelError), told_of("x", "y"):
        check_weights(headers(tmp_path), empty_model(good))


@FUZZ
@given(at=st.integers(0, 3000), bit=st.integers(0, 7))
def test_a_bit_flipped_in_the_header_of_weights(at: int, bit: int, good: Path, tmp_path: Path) -> None:
    """Refused, or no weight's name, shape or kind was touched."""
    content = bytearray((good / WEIGHTS).read_bytes())
    at %= 8 + int.from_bytes(content[:8], "little")
    content[at] ^= 1 << bit
    (tmp_path / WEIGHTS).write_bytes(content)
    try:
        with told_of("x", "y"):
            check_weights(headers(tmp_path), empty_model(good))
    except ModelError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017


@FUZZ
@given(data=st.data())
def test_bytes_changed_in_a_config(data: st.DataObject, good: Path, tmp_path: Path) -> None:
    """Refused in one line, or a config all the same."""
    content = bytearray((good / "config.json").read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    (tmp_path / "config.json").write_bytes(content)
    try:
        with told_of("x", "y"):
            empty_model(tmp_path)
    except ModelError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
