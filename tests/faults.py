"""Deliberate faults of the kinds that have been made in code like ours: what `mutations.py` plants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["sign", "position", "padding", "batches", "k and v", "ties", "gradient", "absolute"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Fault:
    """A text that stands once in a file, and what would be wrong."""

    kind: Kind
    file: str
    old: str
    new: str
    what: str


FAULTS = (
    # ---- a sign
    Fault("sign", "bench/discovery/problem.py", "return -self._measure", "return self._measure",
          "the difference is maximised"),
    Fault("sign", "bench/discovery/problem.py", "reference - senders if direction is None",
          "senders - reference if direction is None", "removing an edge adds it"),
    Fault("sign", "bench/engine/ablation.py", '-model.weights[f"a{layer}.b_O"]',
          'model.weights[f"a{layer}.b_O"]', "a removed head doubles its share of the bias"),
    Fault("sign", "bench/engine/blocks.py", "torch.cat([-second, first], -1)", "torch.cat([second, -first], -1)",
          "positions rotate the other way"),
    Fault("sign", "bench/engine/circuit.py", "{n: ~mask for n, mask", "{n: mask for n, mask",
          "the complement keeps the circuit's weights"),
    Fault("sign", "methods/discogp.py", "loss = loss - self.complement", "loss = loss + self.complement",
          "the complement is trained for the answer"),
    Fault("sign", "tasks/gp.py", "np.stack([~female, female]", "np.stack([female, ~female]",
          "men are she"),
    # ---- a position off by one
    Fault("position", "bench/engine/masked_model.py", '["embed.W_pos"][: tokens.shape[1]]',
          '["embed.W_pos"][1 : tokens.shape[1] + 1]', "positions begin at 1"),
    Fault("position", "bench/engine/blocks.py", "<= at[:, None])[:, None, :]", "< at[:, None])[:, None, :]",
          "an answer does not attend to itself"),
    Fault("position", "bench/engine/blocks.py", "cos, sin = cos[at][:, None], sin[at][:, None]",
          "cos, sin = cos[at - 1][:, None], sin[at - 1][:, None]", "an answer's query rotates as if earlier"),
    Fault("position", "bench/engine/incremental.py", "return x[..., self._examples, self._at, :]",
          "return x[..., self._examples, self._at - 1, :]", "the position before the answer is read"),
    Fault("position", "bench/engine/plan.py", "reads[: graph.n_heads].any(0), reads[graph.n_heads :].any(0)",
          "reads[: graph.n_heads + 1].any(0), reads[graph.n_heads + 1 :].any(0)",
          "the first key counts as a query"),
    Fault("position", "tasks/examples.py", "lengths[:n], lengths[:n] - 1, candidates",
          "lengths[:n], lengths[:n] - 2, candidates", "the answer is asked a token early"),
    Fault("position", "tracr_ground_truth/compile.py", "start=1):", "start=0):",
          "what a program says is asked a position early"),
    # ---- padding counted, lengths ignored
    Fault("padding", "bench/engine/ablation.py", "model.senders(tokens, lengths) * inside[..., None]",
          "model.senders(tokens, lengths)", "padding is in the sum of a mean"),
    Fault("padding", "bench/engine/ablation.py", "int(lengths.sum())", "tokens.numel()",
          "padding is in the count of a mean"),
    Fault("padding", "bench/engine/masked_model.py", "torch.arange(pos, device=lengths.device) < lengths[:, None]",
          "torch.arange(pos, device=lengths.device) <= lengths[:, None]", "the first padding is attended to"),
    Fault("padding", "bench/discovery/problem.py", "self.model.senders(batch.clean, batch.lengths)",
          "self.model.senders(batch.clean)", "senders on clean prompts know no lengths"),
    Fault("padding", "bench/engine/ablation.py", "return model.senders(corrupted, lengths)",
          "return model.senders(corrupted)", "senders on corrupted prompts know no lengths"),
    Fault("padding", "bench/scoring/evaluate.py", "circuit.weights, at, batch.lengths)", "circuit.weights, at)",
          "circuits are evaluated without lengths"),
    Fault("padding", "tracr_ground_truth/data.py", "np.flatnonzero((lengths == n) & (np.arange",
          "np.flatnonzero((lengths >= n) & (np.arange", "pairs differ in length"),
    # ---- a batch boundary
    Fault("batches", "bench/engine/ablation.py", "for batch in discovery)", "for batch in discovery[:1])",
          "the mean is the first batch's"),
    Fault("batches", "bench/discovery/batches.py", "for start in range(0, len(examples), size)",
          "for start in range(0, max(1, len(examples) - size + 1), size)",
          "the last, smaller batch is dropped"),
    Fault("batches", "bench/models/tracr.py", "for i in range(0, len(clean), CHUNK)",
          "for i in range(0, max(len(clean) - CHUNK, 1), CHUNK)", "the last batch of pairs is dropped"),
    Fault("batches", "methods/base.py", "left = n - sum(map(len, taken))", "left = n",
          "the first n examples of every batch"),
    Fault("batches", "methods/selection/effects.py", "total /= n_examples", "total /= len(parts)",
          "the mean is over batches"),
    Fault("batches", "methods/thresholds/pruning.py", "torch.float32))\n            total += problem.loss",
          "torch.float32))\n            total = problem.loss", "the loss is the last batch's"),
    Fault("batches", "methods/training/parts.py", "len(batch) * i // count for i in range(count + 1)",
          "len(batch) * i // count for i in range(max(count, 2))", "the last part of a batch is dropped"),
    # ---- keys and values swapped
    Fault("k and v", "bench/engine/blocks.py", "arch.n_heads + kv, arch.n_heads + arch.n_kv_heads + kv",
          "arch.n_heads + arch.n_kv_heads + kv, arch.n_heads + kv", "of some heads"),
    Fault("k and v", "bench/engine/blocks.py", "q, k, v = qkv.view", "q, v, k = qkv.view",
          "where they are projected"),
    Fault("k and v", "bench/models/bridge.py", "ports = [attn.W_Q, attn.W_K, attn.W_V]",
          "ports = [attn.W_Q, attn.W_V, attn.W_K]", "where weights are read"),
    Fault("k and v", "bench/engine/incremental.py", "for x in (k, v))", "for x in (v, k))",
          "where an incremental run plans them"),
    Fault("k and v", "tracr_ground_truth/truth.py", '"qkv".index(port)', '"qvk".index(port)',
          "where weights are read for the truth"),
    Fault("k and v", "tracr_ground_truth/compile.py", '.mT for p in "qkv"]', '.mT for p in "qvk"]',
          "where compiled weights are laid out"),
    # ---- ties
    Fault("ties", "methods/thresholds/best.py", "tied.cumsum(0)", "tied.flip(0).cumsum(0).flip(0)",
          "the last of those that tie"),
    Fault("ties", "bench/scoring/metrics.py", "(top * answers.correct).sum(1) / top.sum(1)",
          "(top * answers.correct).amax(1) / top.amax(1)", "a tie with a right answer is right"),
    Fault("ties", "bench/scoring/metrics.py", "return (x * y).sum((1, 2)) / untied.sqrt()",
          "return (x * y).sum((1, 2)) / (x.shape[1] * (x.shape[1] - 1))", "tau-a: ties count as disorder"),
    Fault("ties", "bench/scoring/metrics.py", '"exact_at_true_size": margin > 0', '"exact_at_true_size": margin >= 0',
          "a tie of a true edge with another one is exact"),
    Fault("ties", "methods/thresholds/threshold_search.py", "key=lambda t: (self.counts[t], t)",
          "key=lambda t: (self.counts[t], -t)", "the lowest of equal thresholds"),
    Fault("ties", "methods/thresholds/best.py", "least = flat.topk(n).values[-1]",
          "least = flat.topk(n).values[0]", "all that tie with the best, and nothing else"),
    Fault("ties", "methods/thresholds/pruning.py", "refused = (change >= threshold)", "refused = (change > threshold)",
          "an effect of just the threshold goes"),
    # ---- a missing detach, a gradient that leaks or is cut
    Fault("gradient", "bench/scoring/measures.py", "(logits * (full() - empty())",
          "(logits * (logits - empty())", "the direction of output_diff moves along"),
    Fault("gradient", "bench/engine/masked_stream.py", "beta=0.0 if first else 1.0", "beta=1.0",
          "an earlier run's gradients are added"),
    Fault("gradient", "bench/engine/masked_model.py", "else inputs).detach().requires_grad_()",
          "else inputs).requires_grad_()", "the caller's inputs want a gradient"),
    Fault("gradient", "methods/training/gates.py", "* (HIGH - LOW) + LOW).clamp(0, 1)",
          "* (HIGH - LOW) + LOW).clamp(0, 1) + (log_alpha - log_alpha.detach())",
          "gates that are shut or open learn"),
    Fault("gradient", "methods/edge_pruning.py", "gap = n_open.log()", "gap = n_open.detach().log()",
          "the pressure moves no gate"),
    Fault("gradient", "methods/training/gate_training.py", "pressure(loss.detach(), ", "pressure(loss, ",
          "a pressure may move gates by the loss"),
    Fault("gradient", "methods/training/gumbel_gates.py", "        self._adam.zero_grad()\n", "",
          "gradients of all steps add up"),
    Fault("gradient", "bench/discovery/checked.py", "given.detach().to(", "given.to(",
          "what is found holds on to its graph"),
    # ---- signed for absolute, absolute for signed
    Fault("absolute", "methods/selection/effects.py", "signed.abs() if self.absolute else signed",
          "signed", "effects always rank by the sign"),
    Fault("absolute", "methods/selection/effects.py", "signed.abs() if self.absolute else signed",
          "signed.abs()", "effects are always absolute"),
    Fault("absolute", "methods/thresholds/pruning.py", "change.abs() if self.absolute else change", "change.abs()",
          "ACDC keeps edges that hurt"),
    Fault("absolute", "bench/scoring/metrics.py", "gap = np.abs(1 - y)", "gap = 1 - y",
          "a faithfulness above 1 makes up for one below"),
    Fault("absolute", "bench/scoring/metrics.py", "if abs(float(gap.mean())) <=", "if float(gap.mean()) <=",
          "a task that the model does badly is unscored"),
    Fault("absolute", "methods/training/descent.py", "abs(n_open - n) <=", "n_open - n <=",
          "too few open edges reach a size"),
    Fault("absolute", "tracr_ground_truth/truth.py", "((write @ read).abs() > 1e-6)",
          "((write @ read) > 1e-6)",
          "an edge that lowers is not structural"),
    Fault("absolute", "tracr_ground_truth/truth.py", "float((run(kept) - said).abs().max())",
          "float((run(kept) - said).max())", "an output may fall unnoticed"),
)  # fmt: skip
