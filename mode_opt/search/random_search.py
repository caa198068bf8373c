"""Random search with a fair race against the incumbent."""

import math
from typing import Any, final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.gradients import Pipeline
from mode_opt.objectives import Estimate
from mode_opt.search.base import AskTell, positive
from mode_opt.search.evaluations import Evaluations

PROPOSALS = ("sobol", "gaussian")


@final
class RandomSearch(AskTell):
    """Random designs, each of which has to beat the best so far in a race with fresh events.

    A design whose first value is below the mean of the incumbent becomes its challenger. The incumbent is evaluated
    once more, then the challenger is evaluated until its mean is above that of the incumbent (it is dropped) or it
    has been evaluated as often (it becomes the incumbent). So the incumbent is known the better the longer it holds
    out, and no design becomes the answer by one lucky value. The first value of a challenger counts only as its
    ticket to the race: by it the design was selected. The answer is the incumbent.

    Args:
        events: of an evaluation; None: 20 if a single event has a value, else 500.
        box: half width in ψ of the box around the start, for parameters without two bounds.
        proposals: ``sobol``: a scrambled Sobol sequence in the box; ``gaussian``: normal around the incumbent.
        spread: standard deviation in ψ of ``gaussian``.
        common_primaries: all designs have the same primaries.

    Raises:
        ConfigurationError: for an option that is not positive, or other proposals.

    Source: F. Hutter, H. Hoos and K. Leyton-Brown, LION 5 (2011) 507 (random online aggressive racing).
    """

    def __init__(
        self,
        events: int | None = None,
        box: float = 1.5,
        proposals: str = "gaussian",
        spread: float = 0.3,
        common_primaries: bool = False,
    ) -> None:
        super().__init__(events, box, common_primaries)
        if proposals not in PROPOSALS:
            raise ConfigurationError("gradient.proposals", proposals, " or ".join(PROPOSALS))
        self.proposals, self.spread = proposals, positive("spread", spread)
        self._forget()

    def _forget(self) -> None:
        self.challenger = torch.zeros(0, 0, dtype=torch.float64)
        self.role, self.scores, self.rows = "incumbent", list[int](), list[int]()

    def begin(self, design: Design, generator: torch.Generator) -> Tensor:
        self._forget()
        return self.start

    def ask(self, pipeline: Pipeline, fresh: Evaluations, generator: torch.Generator) -> Tensor:
        losses, row = self.losses(pipeline), self.told.count - 1
        if bool(fresh.succeeded[0]):
            self._hear(row, losses)
        elif self.role == "challenger":
            self.role = "explorer"  # a design that fails now and then is none to build
        if self.rows:
            own = losses[self.rows]
            error = float(own.std()) / len(own) ** 0.5 if len(own) > 1 else math.nan
            self.best_value = Estimate(float(own.mean()), error)
        if self.role == "challenger":
            return self.challenger
        return self.best if self.role == "incumbent" and self.rows else self._proposal(pipeline.design, generator)

    def _hear(self, row: int, losses: Tensor) -> None:
        """The value of evaluation number ``row`` came back: who is evaluated next?"""
        value = float(losses[row])
        if self.role == "incumbent":
            self.rows = [*self.rows, row]
            self.role = "challenger" if self.challenger.numel() else "explorer"
            return
        if not self.rows:  # the start failed: the first that comes back is the incumbent
            self.best, self.rows = self.told.psi[row : row + 1].clone(), [row]
        elif self.role == "explorer" and value < float(losses[self.rows].mean()):
            self.challenger, self.scores, self.role = self.told.psi[row : row + 1].clone(), [], "incumbent"
        elif self.role == "challenger":
            self.scores = [*self.scores, row]
            self._race(losses)

    def _race(self, losses: Tensor) -> None:
        if float(losses[self.scores].mean()) >= float(losses[self.rows].mean()):
            self._drop()
        elif len(self.scores) >= len(self.rows):
            self.best, self.rows = self.challenger, self.scores
            self._drop()

    def _drop(self) -> None:
        self.challenger, self.scores, self.role = torch.zeros(0, 0, dtype=torch.float64), [], "explorer"

    def _proposal(self, design: Design, generator: torch.Generator) -> Tensor:
        self._drop()
        box = self.box(design)
        if self.proposals == "sobol":
            return box.sobol(self.told.count - 1, self.seed)
        normal = torch.randn(self.best.shape, generator=generator, device=generator.device).double().cpu()
        return torch.clamp(self.best + self.spread * normal, box.low, box.high)

    def own_state(self) -> dict[str, Any]:
        return {"challenger": self.challenger, "role": self.role, "scores": self.scores, "rows": self.rows}

    def load_own_state(self, state: dict[str, Any]) -> None:
        self.challenger, self.role = state["challenger"], state["role"]
        self.scores, self.rows = list(state["scores"]), list(state["rows"])
