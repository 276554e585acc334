"""Train the embedded language model: a small GPT-2 that does the tasks, so that nothing need be fetched.

    python bench/models/train_embedded.py --out bench/models/embedded
    python bench/models/train_embedded.py --out bench/models/seeds/1 --seed 1

It sees only the tasks' `training` split; the other splits combine names, places and years in new ways, and
four wordings of each task are in none of the sentences that it sees.
It is also trained on corrupted prompts, with the answers that they admit, so that a resample
ablation stays within what the model knows. It knows no English beyond the tasks' wordings: it is a
subject for circuit discovery, not a general language model.

Seeded; on another machine the weights may differ in rounding.
"""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tasks import Examples, Task, find_tasks, gp, gt, ioi, words

STEPS: Final = 2200
BATCH: Final = 64
LEARNING_RATE: Final = 2e-3
WARMUP: Final = 100
WEIGHT_DECAY: Final = 0.1
ANSWER_WEIGHT: Final = 5.0  # a prompt has some twenty tokens, only one of them is the answer
EXAMPLES: Final = 30_000  # pairs per task
EVALUATED: Final = 2_400  # examples per task and split for the model card
LAYERS: Final = 4
HEADS: Final = 8
WIDTH: Final = 128
CONTEXT: Final = 64
TRAINED: Final = ("gp", "gt", "ioi", "ioi_t1")
"""The tasks that it learns."""
DROPOUT: Final = 0.05  # once the tasks are learned: it spreads them over heads and layers
DROPOUT_FROM: Final = 1200  # step
TRIED: Final = """## What was tried

To make its circuits larger, with results for seed 0: accuracy on the evaluation split, and the share of the
empty circuit's KL that EAP-IG (`objective=kl`, 200 prompts, resample) recovers with the given number of
edges.

| dropout | gp, gt, ioi right | gp, 10 edges | gt, 10 | ioi, 10 | ioi, 30 |
|---|---|---:|---:|---:|---:|
| none, 2200 steps | 100 %, 100 %, 99.4 % | 0.991 | 0.865 | 0.856 | 0.995 |
| 0.1 throughout, 1600 steps | 56 %, 100 %, 41 % | - | - | - | - |
| 0.1 from step 1000, 1700 steps | 100 %, 100 %, 97.3 % | 0.971 | 0.840 | 0.418 | 0.823 |
| 0.05 from step 1200, 2200 steps | 100 %, 100 %, 99.96 % | 0.997 | 0.880 | 0.807 | 0.993 |

Strong late dropout makes ioi's circuits much larger, but with too many wrong answers; the last row is this
model's recipe. The circuits of gp and gt stay small despite varied wordings, perhaps because a removed edge
carries its sender's output in the *same* wording, with another name or year: where a head looks then needs no
edge.
"""
PIECES: Final = r" ?\p{N}{1,2}| ?\p{L}+|'\p{L}+| ?[^\s\p{L}\p{N}]+|\s+"
"""A token is a word with the space before it, as in GPT-2; digits come in pairs; "isn't" is [ isn]['t]."""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of every word in the tasks' lists and wordings; it decodes without loss."""
    split = pre_tokenizers.Split(Regex(PIECES), "isolated")
    texts = [re.sub(r"\{\w+\}", "and", wording) for wording in (*ioi.WORDINGS, *gt.WORDINGS, *gp.WORDINGS)]
    lists = [value for name, value in vars(words).items() if name.isupper()]
    texts += [f" {word}" for group in (*lists, ("he", "she")) for word in group]
    texts += [f"{space}{number:02}" for space in ("", " ") for number in range(100)]
    pieces = sorted({piece for text in texts for piece, _ in split.pre_tokenize_str(text)})
    vocabulary = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", *pieces])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


@dataclass(frozen=True)
class Sequences:
    """Prompts followed by one answer each, padded on the right."""

    tokens: Int[np.ndarray, "sequence pos"]
    answer_at: Int[np.ndarray, " sequence"]


def trained_tasks() -> dict[str, type[Task]]:
    """The tasks that the model learns; it does not know the words of the others."""
    return {name: task for name, task in find_tasks().items() if name in TRAINED}


def training_sequences(tokenizer: PreTrainedTokenizerFast, width: int, seed: int) -> Sequences:
    """Clean and corrupted prompts of all tasks, each with an answer drawn from those it admits.

    Args:
        tokenizer: the model's.
        width: length of the sequences in tokens.
        seed: draws prompts and answers.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for task in trained_tasks().values():
        pairs = task().examples(tokenizer, "training", EXAMPLES, seed)
        candidates, admitted = corrupted_answers(task, pairs)
        parts.append(with_answer(pairs.clean, pairs.lengths, pairs.candidates, pairs.correct, width, rng))
        parts.append(with_answer(pairs.corrupted, pairs.lengths, candidates, admitted, width, rng))
    order = rng.permutation(sum(len(part.tokens) for part in parts))
    return Sequences(
        np.concatenate([part.tokens for part in parts])[order],
        np.concatenate([part.answer_at for part in parts])[order],
    )


def corrupted_answers(
    task: type[Task], pairs: Examples
) -> tuple[Int[np.ndarray, "example candidate"], Bool[np.ndarray, "example candidate"]]:
    """What may follow a corrupted prompt: candidates, and which of them are admitted."""
    if issubclass(task, ioi.IOI):  # no name is repeated: either of the first two of its three
        rows = np.arange(len(pairs))[:, None]
        names = np.argsort(pairs.clean == pairs.corrupted, axis=1, kind="stable")[:, :2]
        candidates = pairs.corrupted[rows, names]
        return candidates, np.ones_like(candidates, bool)
    if issubclass(task, gt.GreaterThan):  # the year is 01: every later one
        return pairs.candidates, np.broadcast_to(np.arange(100) > 1, pairs.correct.shape)
    return pairs.candidates, ~pairs.correct  # gp: the other pronoun


def with_answer(
    prompts: Int[np.ndarray, "example prompt"],
    lengths: Int[np.ndarray, " example"],
    candidates: Int[np.ndarray, "example candidate"],
    admitted: Bool[np.ndarray, "example candidate"],
    width: int,
    rng: np.random.Generator,
) -> Sequences:
    """Each prompt followed by one of its admitted candidates, drawn uniformly.

    Args:
        prompts: padded on the right.
        lengths: tokens of each prompt.
        candidates: token ids.
        admitted: which of them may follow, at least one.
        width: length of the returned sequences in tokens, greater than that of the longest prompt.
        rng: draws the candidates.
    """
    rows = np.arange(len(prompts))
    chosen = (rng.random(admitted.shape, np.float32) * admitted).argmax(axis=1)
    tokens = np.zeros((len(prompts), width), np.int64)
    tokens[:, : prompts.shape[1]] = prompts
    tokens[rows, lengths] = candidates[rows, chosen]
    return Sequences(tokens, lengths)


def train(model: GPT2LMHeadModel, data: Sequences) -> None:
    """Next-token loss at every position, the answer's weighted; AdamW, warm-up, then a cosine to zero.

    Dropout starts late: with it from the start, the tasks are learned too slowly.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / WARMUP, 0.5 + 0.5 * np.cos(np.pi * step / STEPS)),
    )
    model.train()
    dropouts = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    for step in range(STEPS):
        for dropout in dropouts:
            dropout.p = DROPOUT if step >= DROPOUT_FROM else 0.0
        rows = np.arange(step * BATCH, (step + 1) * BATCH) % len(data.tokens)
        answer_at = torch.from_numpy(data.answer_at[rows])
        tokens = torch.from_numpy(data.tokens[rows])[:, : int(answer_at.max()) + 1]
        loss = weighted_loss(model(tokens[:, :-1]).logits, tokens[:, 1:], answer_at - 1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == STEPS - 1:
            print(f"step {step:5d}  loss {loss.item():.4f}", flush=True)
    model.eval()


def weighted_loss(
    logits: Float[Tensor, "batch pos vocab"], target: Int[Tensor, "batch pos"], answer: Int[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy of the tokens up to the answer, which counts `ANSWER_WEIGHT` times.

    Args:
        logits: at each position, for the next token.
        target: the next token at each position.
        answer: the position at which the answer is the target.
    """
    position = torch.arange(target.shape[1])
    weight = (position < answer[:, None]) + ANSWER_WEIGHT * (position == answer[:, None])
    loss = functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
    return (loss * weight.flatten()).sum() / weight.sum()


@torch.no_grad()
def measure(model: GPT2LMHeadModel, examples: Examples) -> tuple[float, float]:
    """Accuracy (argmax over the whole vocabulary is correct) and p(correct) - p(wrong candidates)."""
    rows = torch.arange(len(examples))
    logits = model(torch.tensor(examples.clean)).logits[rows, torch.tensor(examples.positions)]
    candidates, correct = torch.tensor(examples.candidates), torch.tensor(examples.correct)
    right = ((logits.argmax(-1)[:, None] == candidates) & correct).any(-1)
    signed = logits.softmax(-1).gather(1, candidates) * (2 * correct.float() - 1)
    return right.float().mean().item(), signed.sum(-1).mean().item()


def by_wording(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, task: type[Task]
) -> list[tuple[float, float] | None]:
    """Results of `measure` on new prompts with discovery's, held-out and untrained wordings.

    None where the task has no such wordings.

    Args:
        model: trained.
        tokenizer: its own.
        task: the task to measure.
    """
    evaluation, untrained = (
        task().examples(tokenizer, split, EVALUATED, 0) for split in ("evaluation", "untrained")
    )
    held_out = np.isin(evaluation.template, list(task.held_out))
    new = ~np.isin(untrained.template, evaluation.template)
    return [
        measure(model, examples.take(np.flatnonzero(chosen))) if chosen.any() else None
        for examples, chosen in ((evaluation, ~held_out), (evaluation, held_out), (untrained, new))
    ]


def model_card(
    measured: dict[str, list[tuple[float, float] | None]], parameters: int, minutes: float, seed: int
) -> str:
    """The README of the model directory; every number in it was measured in this run.

    Args:
        measured: the results of `by_wording` by task.
        parameters: how many the model has.
        minutes: how long training took.
        seed: of the training.
    """
    cells = {
        name: ["-, -" if told is None else f"{told[0]:.2%}, {told[1]:.3f}" for told in row]
        for name, row in measured.items()
    }
    rows = "\n".join(f"| {name} | {' | '.join(row)} |" for name, row in cells.items())
    threads = f"{torch.get_num_threads()} CPU thread{'s' if torch.get_num_threads() > 1 else ''}"
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# circuitmark's embedded language model

GPT-2 architecture: {LAYERS} layers, {HEADS} heads, width {WIDTH}, context {CONTEXT},
{parameters:,} parameters, float32; a word-level tokenizer (a word with the
space before it is one token, digits come in pairs).

It exists so that circuit discovery can be benchmarked without fetching a model. It does the tasks
below and knows no other English. Loaded like any Hugging Face directory.

Made by `bench/models/train_embedded.py`: seed {seed}, {STEPS} steps of {BATCH} sequences, AdamW
(learning rate {LEARNING_RATE}, weight decay {WEIGHT_DECAY}, {WARMUP} steps of warm-up, cosine), dropout
{DROPOUT} from step {DROPOUT_FROM} on;
{minutes:.1f} minutes on {threads}. Trained on the tasks' training split, clean
and corrupted prompts, in 24 wordings of each task; the clean prompts of every other split are new to it.

| task | discovery's wordings | held out from discovery | untrained wordings |
|---|---|---|---|
{rows}

Accuracy (the most probable of all tokens is a correct answer) and p(correct) - p(wrong) on prompts that the
model was not trained on: {EVALUATED:,} of each task's evaluation split, which has the first two kinds of
wordings, and as many of its untrained split (seed 0).

{TRIED}"""


def main() -> None:
    """Train, measure, write the directory."""
    parser = argparse.ArgumentParser(description="Train circuitmark's embedded language model.")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the initial weights, the prompts and dropout"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    tokenizer = build_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_layer=LAYERS,
        n_head=HEADS,
        n_embd=WIDTH,
        n_positions=CONTEXT,
        resid_pdrop=DROPOUT,
        embd_pdrop=DROPOUT,
        attn_pdrop=DROPOUT,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config)
    data = training_sequences(tokenizer, width=CONTEXT, seed=arguments.seed)
    start = time.perf_counter()
    train(model, data)
    minutes = (time.perf_counter() - start) / 60
    measured = {name: by_wording(model, tokenizer, task) for name, task in trained_tasks().items()}
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    card = model_card(measured, model.num_parameters(), minutes, arguments.seed)
    (arguments.out / "README.md").write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
