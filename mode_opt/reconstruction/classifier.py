"""A reconstruction network that tells classes apart."""

from collections.abc import Sequence
from typing import Any, cast, final

from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.reconstruction.base import Reconstruction
from mode_opt.reconstruction.inputs import StandardInputs
from mode_opt.reconstruction.network import multilayer


@final
class Classifier(Reconstruction):
    r"""The probability that the truth is 1, by a multilayer perceptron over cells that are always the same ones.

    .. math:: P(\text{truth}_t = 1 \mid x, \varphi) = \frac{1}{1 + e^{-z_t(x, \varphi)}}

    with the features x of all cells, standardised together, and the normalised design (`StandardInputs`). Trained for
    the truth its loss is the cross-entropy, at whose minimum z is the logarithm of the density ratio of the classes
    plus that of their shares in the sample. Trained for the objective, z is whatever observable serves it; the weights
    begin at random, for if all events had the same z, no small change of it would tell the classes apart in any bin.

    Args:
        cells: ``h``, number of cells of an event.
        parameters: ``d``, number of design columns it is conditioned on.
        inputs: number of features that are read of each cell.
        features: their indices; None: the first ``inputs``.
        targets: ``t``, truth features, each 0 or 1.
        hidden: width of the hidden layers.
        depth: number of hidden layers.

    Raises:
        ConfigurationError: for sizes below one, or features that are not as many as the inputs; when called, for
            events with another number of cells.
    """

    def __init__(
        self,
        cells: int,
        parameters: int,
        inputs: int = 1,
        features: Sequence[int] | None = None,
        targets: int = 1,
        hidden: int = 32,
        depth: int = 2,
    ) -> None:
        super().__init__()
        sizes = {"cells": cells, "inputs": inputs, "targets": targets, "hidden": hidden, "depth": depth}
        for key, value in sizes.items():
            if value < 1:
                raise ConfigurationError(f"reconstruction.{key}", value, "at least 1")
        self.features = list(range(inputs) if features is None else features)
        if len(self.features) != inputs:
            raise ConfigurationError("reconstruction.features", self.features, f"{inputs} indices, one for each input")
        self.inputs = StandardInputs(cells, parameters, self.features)
        self.network = multilayer(self.inputs.size, hidden, depth, targets)
        nn.init.xavier_uniform_(cast(Tensor, self.network[-1].weight))

    @classmethod
    def fitting(
        cls, events: Events, phi: DesignPoint, features: Sequence[int] | None = None, **options: Any
    ) -> "Classifier":
        """The network whose sizes fit these events and designs; other options are those of the constructor.

        Args:
            events: for sizes, and scales of the inputs.
            phi: of the events.
            features: indices of the features of a hit that are read; None: all of them.

        Raises:
            ConfigurationError: for a feature that the hits do not have.
        """
        _, _, cells, available = events.hits.shape
        chosen = list(range(available) if features is None else features)
        if not chosen or not all(-available <= index < available for index in chosen):
            raise ConfigurationError("reconstruction.features", chosen, f"indices of the {available} hit features")
        sizes = {"cells": cells, "inputs": len(chosen), "targets": events.truth.shape[2]}
        network = cls(parameters=phi.values.shape[1], features=chosen, **sizes, **options)
        network.inputs.fit(events, together=True)
        return network

    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        logits = self.network(self.inputs(events, phi))
        # Truth that is neither 0 nor 1 is interpolated by the log-probability instead of refused.
        return Independent(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)
