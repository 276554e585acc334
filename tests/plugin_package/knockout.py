"""Every edge removed alone: the definition that attribution estimates, a forward pass per edge."""

from dataclasses import dataclass

import torch

from circuitmark import Discovery, Method, Problem


@dataclass(frozen=True)
class Knockout(Method):
    """score(edge) = KL(full model || all but the edge), the mean over examples."""

    name = "knockout"
    description = "KL of the model without each edge, one at a time"
    citation = "@misc{knockout, title={A method of another package}, year={2026}}"

    examples: int = 64
    """Discovery examples used of each batch, the first ones."""
    threshold: float = 0.001
    """Unaided, edges are kept whose removal costs more than that, in nats."""

    def discover(self, problem: Problem) -> Discovery:
        """Runs the model once per edge and batch."""
        exists = problem.graph.exists
        edges = exists.nonzero().tolist()
        scores = torch.zeros(exists.shape, dtype=torch.float64)
        batches = [batch.part(0, self.examples) for batch in problem.batches]
        for done, (row, column) in enumerate(edges):
            for batch in batches:
                mask = exists.to(problem.device, problem.clean(batch).dtype)
                mask[row, column] = 0
                with torch.no_grad():
                    scores[row, column] += problem.loss("kl", problem.run(batch, mask), batch).cpu()
            problem.progress(done + 1, len(edges))
        scores /= sum(map(len, batches))
        return Discovery(scores=scores, unaided=exists & (scores > self.threshold), objective="kl")
