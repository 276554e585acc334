"""Tokenizers that know the words of our tasks: one of words, one of byte pairs as GPT-2's."""

from __future__ import annotations

import re
from functools import cache
from itertools import product
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tasks import Examples, agreement, boolean, gp, gt, ioi, mcqa, words

LISTS = [value for name, value in vars(words).items() if name.isupper()]
WORDINGS = (*ioi.WORDINGS, *gt.WORDINGS, *gp.WORDINGS, *agreement.WORDINGS)


TWO_DIGITS = r" ?\p{N}{1,2}"


def pieces(number: str) -> pre_tokenizers.PreTokenizer:
    """Words with the space before them, as GPT-2 cuts them; numbers as told."""
    return pre_tokenizers.Split(Regex(number + r"| ?\p{L}+|'\p{L}+| ?[^\s\p{L}\p{N}]+"), "isolated")


def word_level(text: str, number: str = TWO_DIGITS) -> PreTrainedTokenizerFast:
    """One token for each piece of the text; an unknown token for the rest."""
    words = sorted({piece for piece, _ in pieces(number).pre_tokenize_str(text)})
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["[PAD]", "[UNK]", *words])}, "[UNK]"))
    tokenizer.pre_tokenizer = pieces(number)
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def vocabulary(*, names: tuple[str, ...] = ioi.NAMES) -> str:
    """A text with all that the tasks may say, and only the given names."""
    fillers = [word for group in LISTS for word in group if word not in ioi.NAMES]
    numbers = " ".join(f"{n:02}{n:02}" for n in range(100))
    frames = "\n".join(re.sub(r"\{\w+\}", "and", wording) for wording in WORDINGS)
    nouns = " ".join(f"{noun} {noun}s" for noun in agreement.NOUNS)
    asked = "Question: How much is plus minus? Answer: What color is A a?\nAnswer: are"
    letters = " ".join(f"{letter}\n{letter}." for letter in mcqa.LETTERS)
    shapes = product(range(len(boolean.BRACKETS)), (0, -1), (0, -1), (0, -1))
    logic = [f"{boolean._expression(b, o, s).format(*boolean.VALUES[v])} is" for b, o, s, v in shapes]
    preambles = [boolean.Instructed.preamble, boolean.FewShot.preamble]
    more = "\n".join([f"{nouns} {letters} {' '.join(mcqa.COLORS)}", asked, *logic, *preambles])
    return f"{frames} he she {' '.join([*fillers, *names])} {numbers}\n{more}"


@cache
def gpt2_style() -> PreTrainedTokenizerFast:
    """A byte-level BPE like GPT-2's, without pad or unknown token; every second name falls apart."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pieces(TWO_DIGITS), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=3000, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([vocabulary(names=ioi.NAMES[::2])] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def prompts(tokenizer: Any, examples: Examples, which: str) -> list[str]:
    rows = getattr(examples, which)
    return [tokenizer.decode(row[:n]) for row, n in zip(rows, examples.lengths, strict=True)]
