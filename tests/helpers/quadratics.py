"""Objectives whose Hessian is written down."""

import torch

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.objectives import Objective
from mode_opt.objectives.weights import weighted_mean


class Quadratic(Objective):
    """``offset + b·x + ½ xᵀ A x + noise · ⟨hit⟩ x₀²/2`` of the two parameters, in field units."""

    def __init__(self, matrix, slope=(0.0, 0.0), offset=1.0, noise=0.0):
        super().__init__()
        self.matrix = torch.tensor(matrix, dtype=torch.float64)
        self.slope = torch.tensor(slope, dtype=torch.float64)
        self.offset, self.noise = offset, noise

    def forward(self, events: Events, belief, phi: DesignPoint):
        x = torch.cat([phi["x"], phi["y"]], 1).double()
        hit = weighted_mean(events.hits[:, :, 0, 0].double(), events.weight)
        bent = (x @ self.matrix * x).sum(1) / 2 + self.noise * hit * x[:, 0] ** 2 / 2
        return self.offset + x @ self.slope + bent
