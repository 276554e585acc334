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

NONE_KEPT = "{s: torch.zeros_like(problem.graph.exists) for s in problem.sizes}"
WRONG = {
    "None": ("return None", "discover returned NoneType, not a Discovery"),
    "the class": ("return Discovery", "discover returned type, not a Discovery"),
    "a dict": (f"return {{'scores': {SCORES}}}", "discover returned dict, not a Discovery"),
    "scores as lists": (
        f"return Discovery(scores={SCORES}.tolist())",
        "the method's scores are list; scores, edges, weights and unaided must be torch tensors",
    ),
    "scores as an array": (
        f"return Discovery(scores={SCORES}.numpy())",
        "the method's scores are ndarray; scores, edges, weights and unaided must be torch tensors",
    ),
    "scores transposed": (
        f"return Discovery(scores={SCORES}.T)", r"the method's scores are \(11, 27\), expected"),
    "scores flat": (
        f"return Discovery(scores={SCORES}.flatten())", r"the method's scores are \(297,\), expected"),
    "scores of one number": (
        "return Discovery(scores=torch.tensor(1.0))",
        r"the method's scores are \(\), expected \(27, 11\)",
    ),
    "complex scores": (
        f"return Discovery(scores={SCORES} + 1j)",
        "the method's scores are torch.complex64, expected real numbers",
    ),
    "a mask as scores": (
        "return Discovery(scores=problem.graph.exists)",
        "the method's scores are torch.bool, expected real numbers",
    ),
    "sparse scores": (
        f"return Discovery(scores={SCORES}.to_sparse())",
        "the method's scores are torch.sparse_coo, expected a dense tensor",
    ),
    "nested scores": (
        f"return Discovery(scores=torch.nested.nested_tensor(list({SCORES})))",
        "the method's scores are nested, expected a dense tensor",
    ),
    "scores on no device": (
        f"return Discovery(scores={SCORES}.to('meta'))",
        "the method's scores are on the device meta, which holds no values",
    ),
    "scores of a subclass": (
        "class Mine(torch.Tensor):\n    pass\n\n"
        f"return Discovery(scores={SCORES}.as_subclass(Mine))",
        "the method's scores are a Mine, expected a plain torch.Tensor",
    ),
    "scores that outlived a transform": (
        "kept = []\n"
        "many = torch.zeros(2, *problem.graph.exists.shape)\n"
        "torch.vmap(lambda x: (kept.append(x), x)[1])(many)\n"
        "return Discovery(scores=kept[0])",
        "the method's scores are a tensor that cannot be read: ",
    ),
    "NaN among the scores": (
        f"scores = {SCORES}\nscores[-1, 0] = torch.nan\nreturn Discovery(scores=scores)",
        r"the method's scores are not all finite: 1 of 110 edges have NaN or an infinity",
    ),
    "-inf for what is unwanted": (
        f"scores = {SCORES}\nscores[scores < scores.max() / 2] = -torch.inf\nreturn Discovery(scores=scores)",
        "the method's scores are not all finite",
    ),
    "an unknown selection": (
        f"return Discovery(scores={SCORES}, selection='best')",
        "selection is 'best', not one of top, greedy, nodes",
    ),
    "a list for a selection": (
        f"return Discovery(scores={SCORES}, selection=['top'])",
        r"selection is \['top'\], not one of top, greedy, nodes",
    ),
    "a list of edges": (
        "return Discovery(edges=[problem.graph.exists])",
        "edges is list, expected a mapping from sizes",
    ),
    "edges by count": (
        f"kept = {NONE_KEPT}\n"
        "return Discovery(edges={problem.edges_of_share(s): e for s, e in kept.items()})",
        "edges has the size 11, which was not requested; requested: 0.1, 0.4",
    ),
    "edges of a rounded size": (
        f"return Discovery(scores={SCORES}, edges={{0.1 + 0.3 + 1e-9: problem.graph.exists}})",
        r"edges has the size 0.4000000\d+, which was not requested; requested: 0.1, 0.4",
    ),
    "edges by a tensor": (
        "return Discovery(edges={torch.tensor(s): problem.graph.exists for s in problem.sizes})",
        r"edges has the size tensor\(0.1000\), which was not requested; requested: 0.1, 0.4",
    ),
    "edges by name": (
        "return Discovery(edges={s: ['embed->m0'] for s in problem.sizes})",
        r"edges\[0.1\] is list; scores, edges, weights and unaided must be torch tensors",
    ),
    "edges between 0 and 1": (
        "return Discovery(edges={s: problem.graph.exists.float() for s in problem.sizes})",
        r"edges\[0.1\]: a circuit of this graph needs a bool mask of shape \(27, 11\), not torch.float32",
    ),
    "edges that are none": (
        "return Discovery(edges={s: ~problem.graph.exists for s in problem.sizes})",
        r"edges\[0.1\]: .* is not an edge of this graph",
    ),
    "edges of a graph it spoiled": (
        "problem.graph.exists.fill_(True)\n"
        "return Discovery(edges={s: problem.graph.exists for s in problem.sizes})",
        r"edges\[0.1\]: .* is not an edge of this graph",
    ),
    "a size left out": (
        f"return Discovery(edges={{0.1: {NONE_KEPT}[0.1]}})",
        "the method returned neither scores nor edges for the size 0.4",
    ),
    "nothing": ("return Discovery()", "the method returned neither scores nor edges for the size 0.1"),
    "unaided of another shape": (
        "return Discovery(unaided=torch.ones(3, 3).bool())",
        r"unaided is \(3, 3\), expected \(27, 11\)",
    ),
    "unaided beyond the graph": (
        f"return Discovery(scores={SCORES}, unaided=torch.ones(27, 11).bool())",
        "unaided: .* is not an edge of this graph",
    ),
    "weights by name, not by size": (
        "return Discovery(weights={n: torch.ones(*s).bool() for n, s in problem.weights.items()})",
        "weights has the size 'a0.W_QKV', which was not requested; requested: 0.1, 0.4",
    ),
    "a weight that is not there": (
        "return Discovery(weights={s: {'a9.W_O': torch.ones(1).bool()} for s in problem.sizes})",
        r"weights\[0.1\] has a mask of 'a9.W_O', expected names of problem.weights",
    ),
    "a weight of another shape": (
        "return Discovery(weights={s: {'a0.W_O': torch.ones(1).bool()} for s in problem.sizes})",
        r"the mask of 'a0.W_O' in weights\[0.1\] is \(1,\), expected",
    ),
    "weights between 0 and 1": (
        "masks = {n: torch.rand(*s) for n, s in problem.weights.items()}\n"
        "return Discovery(weights={s: masks for s in problem.sizes})",
        r"the mask of '.*' in weights\[0.1\] is torch.float32, expected torch.bool",
    ),
    "one mask for all weights": (
        "return Discovery(weights={s: torch.ones(4).bool() for s in problem.sizes})",
        r"weights\[0.1\] is Tensor, expected a mapping from names of weights",
    ),
    "an objective that is no text": (
        f"return Discovery(scores={SCORES}, objective=torch.nn.MSELoss())",
        "objective is MSELoss, not a string",
    ),
    "an objective with a lone surrogate": (
        f"return Discovery(scores={SCORES}, objective='kl' + chr(0xD800))",
        r"objective is 'kl\\ud800': it has a lone surrogate, which cannot be stored",
    ),
    "an objective without end": (
        f"return Discovery(scores={SCORES}, objective='kl ' * 10**6)",
        "objective has 3,000,000 characters, expected at most 200",
    ),
    "a trace without names": (
        f"return Discovery(scores={SCORES}, trace=[1.0, 0.5])",
        "trace is list, expected a mapping from names to numbers",
    ),
    "a trace named by numbers": (
        f"return Discovery(scores={SCORES}, trace={{0: [1.0, 0.5]}})",
        "a name in trace is int, not a string",
    ),
    "a trace of one number": (
        f"return Discovery(scores={SCORES}, trace={{'loss': torch.tensor(1.0)}})",
        r"trace\['loss'\] is tensor\(1.\), expected a sequence of numbers",
    ),
    "a trace of text": (
        f"return Discovery(scores={SCORES}, trace={{'loss': '0.5, 0.25'}})",
        r"trace\['loss'\] is '0.5, 0.25', expected a sequence of numbers",
    ),
    "a trace of rows": (
        f"return Discovery(scores={SCORES}, trace={{'loss': torch.zeros(2, 2)}})",
        r"trace\['loss'\] holds tensor\(\[0., 0.\]\), expected real numbers",
    ),
    "an uneven trace": (
        f"return Discovery(scores={SCORES}, trace={{'step': [0, 1, 2], 'loss': [1.0, 0.5]}})",
        "trace has 2 values of 'loss' and 3 of 'step', expected the same number of each",
    ),
    "a trace without end": (
        f"return Discovery(scores={SCORES}, trace={{'loss': range(10**9)}})",
        r"trace\['loss'\] has 1,000,000,000 values, expected at most 1,000,000 in the whole trace",
    ),
    "a trace of each edge": (
        f"return Discovery(scores={SCORES}, trace={{str(n): [0.0] for n in range(5000)}})",
        "trace has 5,000 series, expected at most 100",
    ),
}  # fmt: skip
"""Bodies of `discover` that return something wrong, and the line that says so: `problems.PROBLEMS["gpt2"]`,
at the sizes of `conformance.problems.SIZES`."""
