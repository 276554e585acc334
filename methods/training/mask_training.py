"""Parameters of edge masks, trained on parts of the discovery prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from methods.base import Batch, Objective, Problem
from methods.training.named_tensors import flat, under
from methods.training.parts import Rounds


class MaskTraining:
    """Moves parameters down the gradient of a part's mean loss per example, with Adam.

    The full model's logits and the reference on a part are computed once if `Problem` has room to cache them,
    otherwise in every step.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        parts: Sequence[Batch],
        parameters: Sequence[Tensor],
        random: torch.Generator,
        rate: float,
        memory: float,
        learnt: Sequence[Tensor] = (),
        learnt_rate: float = 0.1,
    ) -> None:
        """`learnt` are parameters of terms added to the loss; they move up their gradient.

        `memory` is Adam's decay of squared gradients, which spans about 1 / (1 - memory) steps.
        """
        self.problem, self.objective, self.random = problem, objective, random
        self._values = [*parameters, *learnt]
        groups: list[dict[str, Any]] = [{"params": list(parameters)}]
        if learnt:
            groups.append({"params": list(learnt), "maximize": True, "lr": learnt_rate})
        self._optimizer = torch.optim.Adam(groups, lr=rate, betas=(0.9, memory))
        self._rounds = Rounds(parts, random)
        self.steps = 0

    def part(self) -> Batch:
        """The part for the next step."""
        return self._rounds.next()

    def loss(self, part: Batch, mask: Float[Tensor, "receivers senders"]) -> Float[Tensor, ""]:
        """The mean loss per example on a part.

        Raises:
            ValueError: it is not finite.
        """
        loss = self.problem.loss(self.objective, self.problem.run(part, mask), part) / len(part)
        if not loss.isfinite():
            raise ValueError(
                f"training diverged: the loss of step {self.steps} is {loss.item():g}: try a lower rate or "
                "--dtype float32"
            )
        return loss

    def descend(self, loss: Float[Tensor, ""]) -> None:
        """Ends a step by descending on a loss, to which terms may have been added."""
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.steps += 1

    def state(self) -> dict[str, Tensor]:
        """Everything that later steps depend on."""
        moments = self._optimizer.state_dict()["state"]
        adam = flat({f"adam.{i}": each for i, each in moments.items()})
        values = {f"value.{i}": v.detach() for i, v in enumerate(self._values)}
        counts = {"steps": torch.tensor(self.steps), "random": self.random.get_state()}
        return {**adam, **values, **counts, **flat({"rounds": self._rounds.state()})}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` returned."""
        for i, each in enumerate(self._values):
            each.copy_(state[f"value.{i}"])
        moments = {i: under(f"adam.{i}", state) for i in range(len(self._values))}
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})
        self.random.set_state(state["random"].cpu())
        self._rounds.restore(under("rounds", state))
        self.steps = int(state["steps"])
