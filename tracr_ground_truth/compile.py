"""A program -> the weights of a transformer that computes it, its inputs and its expected outputs.

Tracr compiles, TransformerLens's utility extracts the weights. Needs the extra ``tracr`` (Tracr, JAX).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tracr_ground_truth.data import inputs
from tracr_ground_truth.program import Program, ProgramError, Value, not_installed

BOS, PAD = "compiler_bos", "compiler_pad"
TOLERANCE = 0.25
"""How much an output may change, as a share of the smallest gap between two outputs of a program."""


@dataclass(frozen=True)
class Compiled:
    """A compiled program: arrays only, no JAX."""

    shape: Mapping[str, int]
    """``n_layers``, ``n_heads``, ``d_model``, ``d_head``, ``n_ctx``, ``d_vocab``."""
    weights: Mapping[str, Tensor]
    """Named and laid out as `bench.engine.masked_model.MaskedModel` expects."""
    tokens: tuple[Value, ...]
    """All tokens in order of their ids, including BOS and padding."""
    categorical: bool
    """Whether each output column stands for a value; otherwise the only column is the output, a number."""
    inputs: Int[Tensor, "inputs pos"]
    """The data set as token ids, BOS first, padded on the right."""
    lengths: Int[Tensor, " inputs"]
    """Tokens of each input, including BOS."""
    targets: Float[Tensor, "inputs pos output"]
    """The RASP program's outputs: one-hot or a number; NaN at BOS, at padding and where it returns None."""

    def encode(self, sequence: Sequence[Value]) -> list[int]:
        """Token ids of one input, BOS first.

        Raises:
            ProgramError: the sequence is empty or too long, or a value is not in the vocabulary.
        """
        longest = self.shape["n_ctx"] - 1
        if not 1 <= len(sequence) <= longest:
            raise ProgramError(f"an input of this program has 1 to {longest} tokens, not {len(sequence)}: "
                               "shorten it, or raise the program's length")  # fmt: skip
        for value in sequence:
            if value not in self.tokens or value in (BOS, PAD):
                known = ", ".join(str(token) for token in self.tokens if token not in (BOS, PAD))
                raise ProgramError(f"'{value}' is not in the program's vocabulary ({known})")
        return [self.tokens.index(value) for value in (BOS, *sequence)]

    @property
    def data_hash(self) -> str:
        """A hash of the data set: a true circuit holds for its data only."""
        digest = hashlib.sha256(self.inputs.numpy().tobytes() + self.lengths.numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def tolerance(self) -> float:
        """The largest change of an output that is tolerated."""
        return TOLERANCE * self.gap

    @property
    def gap(self) -> float:
        """The smallest gap between two outputs of the program on its data set.

        Raises:
            ProgramError: there is only one output.
        """
        said = self.targets[~self.targets.isnan().any(-1)]
        values = said.unique(dim=0).double()
        if len(values) < 2:
            raise ProgramError("the program has the same output everywhere: there is no circuit to find")
        gaps = (values[:, None] - values).abs().amax(-1)
        return float(gaps[gaps > 0].min())


def compile_program(program: Program) -> Compiled:
    """Compiles a program with Tracr; takes seconds.

    Raises:
        ProgramError: Tracr or JAX is not installed, the program's function fails, or Tracr cannot
            compile what it returns.
    """
    try:
        from tracr.compiler import compiling
        from tracr.rasp import rasp
    except ImportError as error:
        raise ProgramError(f"Tracr is {not_installed(error)}") from error
    expression = _built(program)
    if not isinstance(expression, rasp.SOp):
        raise ProgramError(
            f"'{program.name}' returns a {type(expression).__name__}: let it return a rasp.SOp"
        )
    try:
        model = compiling.compile_rasp_to_model(
            expression, set(program.vocabulary), program.length, program.causal, BOS, PAD,
            mlp_exactness=exactness(program.length),
        )  # fmt: skip
        return _read_out(program, expression, model)
    except Exception as error:  # Tracr lets any exception through
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ProgramError(
            f"Tracr cannot compile '{program.name}': {reason} (rewrite it within what Tracr supports: "
            "categorical keys and queries, numerical averages with default 0, rasp.tokens somewhere)"
        ) from error


def exactness(length: int) -> int:
    """How steep the steps are by which a compiled MLP distinguishes numbers; Tracr's default is 100.

    A step from 0 to 1 takes 1 / exactness, and begins midway between two of a number's values. The closest
    two distinguish a count of `length` tokens from one fewer: 1 / (length + 1) and 1 / length.
    """
    return max(100, 2 * length * (length + 1))


def _built(program: Program) -> Any:
    try:
        return program.build()
    except (Exception, SystemExit) as error:
        raise ProgramError(f"the program '{program.name}' fails: {type(error).__name__}: {error}") from error


def _read_out(program: Program, expression: Any, model: Any) -> Compiled:
    from tracr.rasp import causal_eval, rasp
    from transformer_lens.utilities.tracr import (
        make_tracr_transformer_bridge_config,
        make_tracr_transformer_bridge_state_dict,
    )

    categorical = rasp.is_categorical(expression)
    source, label = model, expression.label
    if not categorical:  # the utility supports only categorical outputs: give the number a single value
        source = SimpleNamespace(
            params=model.params,
            model_config=model.model_config,
            residual_labels=[f"{name}:number" if name == label else name for name in model.residual_labels],
            output_encoder=SimpleNamespace(encoding_map={"number": 0}),
        )
    config = make_tracr_transformer_bridge_config(source)
    state = make_tracr_transformer_bridge_state_dict(source, label)
    shape = {name: int(getattr(config, name)) for name in
             ("n_layers", "n_heads", "d_model", "d_head", "n_ctx", "d_vocab")}  # fmt: skip
    evaluate = causal_eval.evaluate if program.causal else rasp.DefaultRASPEvaluator().evaluate
    token_ids = model.input_encoder.encoding_map
    columns = model.output_encoder.encoding_map if categorical else None
    data = inputs(program)
    longest = 1 + max(map(len, data))
    ids = torch.full((len(data), longest), token_ids[PAD])
    targets = torch.full((len(data), longest, len(columns) if columns else 1), torch.nan)
    for i, sequence in enumerate(data):
        ids[i, : 1 + len(sequence)] = torch.tensor([token_ids[value] for value in (BOS, *sequence)])
        for pos, value in enumerate(evaluate(expression, list(sequence)), start=1):
            if value is not None:
                targets[i, pos] = 0.0 if columns else float(value)
                if columns and value not in columns:
                    raise ValueError(f"it says {value}, which is none of its values: let every categorical "
                                     "rasp.Aggregate select at most one position")  # fmt: skip
                if columns:
                    targets[i, pos, columns[value]] = 1.0
    return Compiled(
        shape=shape,
        weights=_weights(state, shape),
        tokens=tuple(sorted(token_ids, key=lambda token: token_ids[token])),
        categorical=categorical,
        inputs=ids,
        lengths=torch.tensor([1 + len(sequence) for sequence in data]),
        targets=targets,
    )


def _weights(state: Mapping[str, Tensor], shape: Mapping[str, int]) -> dict[str, Tensor]:
    """TransformerLens's native state dict -> `MaskedModel`'s weights."""
    heads, d_head, d_model = shape["n_heads"], shape["d_head"], shape["d_model"]
    weights = {
        "embed.W_E": state["tok_embed.weight"],
        "embed.W_pos": state["pos.weight"],
        "logits.W_U": state["head.weight"].T,
        "logits.b_U": torch.zeros(len(state["head.weight"])),
    }
    for layer in range(shape["n_layers"]):
        attn, mlp = f"layers.{layer}.attn", f"layers.{layer}.mlp"
        weights |= {
            f"a{layer}.W_QKV": torch.cat(
                [state[f"{attn}.{p}.weight"].view(heads, d_head, d_model).mT for p in "qkv"]
            ),
            f"a{layer}.b_QKV": torch.cat([state[f"{attn}.{p}.bias"].view(heads, d_head) for p in "qkv"]),
            f"a{layer}.W_O": state[f"{attn}.o.weight"].T.reshape(heads, d_head, d_model),
            f"a{layer}.b_O": state[f"{attn}.o.bias"],
            f"m{layer}.W_in": state[f"{mlp}.fc_in.weight"].T,
            f"m{layer}.b_in": state[f"{mlp}.fc_in.bias"],
            f"m{layer}.W_out": state[f"{mlp}.fc_out.weight"].T,
            f"m{layer}.b_out": state[f"{mlp}.fc_out.bias"],
        }
    return {name: weight.contiguous() for name, weight in weights.items()}
