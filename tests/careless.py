"""Adapters that each break one promise of the contract, as files that users write."""

from __future__ import annotations

HEAD = """
import torch
from circuitmark import Discovery, Method


class Mine(Method):
    name, description, citation = "mine", "a test", "@misc{x}"
"""
SCORES = "problem.edge_gradients(problem.batches[0], 'difference').abs()"
"""EAP's on the first batch: nothing is wrong with them."""


def adapter(body: str) -> str:
    """A file whose method's `discover` has such a body."""
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    return f"{HEAD}\n    def discover(self, problem):\n{lines}"


SOUND = adapter(f"return Discovery(scores={SCORES})")
CARELESS = {
    "wrong shape": ("discovery", adapter(f"return Discovery(scores={SCORES}.T)")),
    "no Discovery": ("discovery", adapter(f"return {SCORES}")),
    "edges are no bool": (
        "discovery",
        adapter(
            "kept = problem.graph.exists.float()\nreturn Discovery(edges={s: kept for s in problem.sizes})"
        ),
    ),
    "nothing found": ("discovery", adapter("return Discovery()")),
    "NaN": (
        "finite",
        adapter(f"scores = {SCORES}\nscores[-1, 0] = float('nan')\nreturn Discovery(scores=scores)"),
    ),
    "on another device": (
        "device",
        adapter(f"return Discovery(scores={SCORES}, unaided=problem.graph.exists.to('meta'))"),
    ),
    "too many edges": (
        "sizes",
        adapter("return Discovery(edges={s: problem.graph.exists.clone() for s in problem.sizes})"),
    ),
    "too few edges": (
        "sizes",
        adapter(
            "edges = {s: torch.zeros_like(problem.graph.exists) for s in problem.sizes}\n"
            "return Discovery(edges=edges)"
        ),
    ),
    "a size left out": (
        "sizes",
        adapter(
            "size = problem.sizes[0]\nkept = torch.zeros_like(problem.graph.exists)\n"
            "for row, column in problem.graph.exists.nonzero()[: problem.edges_of_share(size)]:\n"
            "    kept[row, column] = True\n"
            "return Discovery(edges={size: kept})"
        ),
    ),
    "another at each call": (
        "seed",
        "import itertools\n\nCALLS = itertools.count()\n"
        + adapter(
            "generator = torch.Generator().manual_seed(next(CALLS))\n"
            "return Discovery(scores=torch.rand(problem.graph.exists.shape, generator=generator))"
        ),
    ),
    "stochastic and silent": (
        "seed",
        adapter("return Discovery(scores=torch.rand(problem.graph.exists.shape))"),
    ),
    "changes weights": (
        "untouched",
        adapter(f"scores = {SCORES}\nproblem.model.weights['a0.W_O'] *= 2\nreturn Discovery(scores=scores)"),
    ),
    "changes prompts": (
        "untouched",
        adapter(f"scores = {SCORES}\nproblem.batches[1].clean.zero_()\nreturn Discovery(scores=scores)"),
    ),
    "changes torch": (
        "untouched",
        adapter(f"scores = {SCORES}\ntorch.set_grad_enabled(False)\nreturn Discovery(scores=scores)"),
    ),
    "keeps the problem": (
        "memory",
        "KEPT = []\n" + adapter(f"KEPT.append(problem)\nreturn Discovery(scores={SCORES})"),
    ),
    "keeps a batch": (
        "memory",
        adapter(f"self.batch = problem.batches[0]\nreturn Discovery(scores={SCORES})"),
    ),
    "raises": ("runs", adapter("return Discovery(scores=problem.nothing)")),
    "ends the process": ("runs", adapter("raise SystemExit(3)")),
    "declines everything": (
        "declines",
        f"{SOUND}\n    def skip(self, problem):\n        return 'not today'\n",
    ),
    "declines without a word": ("declines", f"{SOUND}\n    def skip(self, problem):\n        return True\n"),
    "an option that cannot be typed": (
        "options",
        SOUND.replace(
            "\n\nclass Mine", "from dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass Mine"
        ).replace("    def discover", "    layers: tuple[int, ...] = (0, 1)\n\n    def discover"),
    ),
    "no BibTeX": ("citation", SOUND.replace("@misc{x}", "me, 2026")),
}
"""The check that each fails, and no other."""
