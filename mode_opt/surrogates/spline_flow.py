"""Neural spline flows of zuko as a density."""

from typing import final

import torch
from torch import Tensor, nn

from mode_opt.surrogates.density import ConditionalDensity
from mode_opt.surrogates.networks import Affine, uniform


@final
class SplineFlow(ConditionalDensity):
    """Rational-quadratic spline flow; autoregressive for few features, coupling layers for many.

    Reference:
        C. Durkan et al., "Neural spline flows", NeurIPS 2019, arXiv:1906.04032; zuko (https://zuko.readthedocs.io).

    Args:
        features: ``k``.
        conditions: ``c``.
        transforms: number of layers.
        bins: of the splines.
        hidden: width of the two hidden layers.
    """

    def __init__(self, features: int, conditions: int, transforms: int = 2, bins: int = 6, hidden: int = 32) -> None:
        super().__init__(features)
        from zuko.flows import NSF

        self.door = Affine(conditions)
        self.flow = NSF(
            features,
            conditions,
            bins=bins,
            transforms=transforms,
            hidden_features=(hidden, hidden),
            activation=nn.SiLU,
            passes=2 if features > 6 else None,  # sampling an autoregressive layer costs a pass for each feature
        )

    def reset(self, generator: torch.Generator) -> None:
        self.door.reset()
        for transform in self.flow.transform.transforms:
            layers = [layer for layer in transform.modules() if "weight" in dict(layer.named_parameters(recurse=False))]
            for layer in layers:
                uniform(layer, generator)
            with torch.no_grad():  # the identity, when new
                layers[-1].weight.zero_()
                layers[-1].bias.zero_()

    def normalise(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        u, volume = self.flow(self.door(condition)).transform.call_and_ladj(x)
        return u, volume

    def generate(self, u: Tensor, condition: Tensor) -> Tensor:
        return self.flow(self.door(condition)).transform.inv(u)
