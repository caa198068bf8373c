"""The Lightning face of an alternation."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast, final

from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from mode_opt.experiment import Alternation, Optimisers, Record

OptimiserFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


@final
class OptimisationModule(LightningModule):
    """One training step is one design step (`Alternation.step`), in manual optimisation.

    Args:
        alternation: what is optimised.
        reconstruction: builds the optimiser of the reconstruction from its parameters.
        design: builds the optimiser of ψ.
        on_warm_up: called with the fraction done while the reconstruction is warmed up.
        on_begin: called after that, before the first design step; a resumed optimisation has it behind it.
    """

    def __init__(
        self,
        alternation: Alternation,
        reconstruction: OptimiserFactory,
        design: OptimiserFactory,
        on_warm_up: Callable[[float], None] = lambda fraction: None,
        on_begin: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.alternation = alternation
        self._factories, self._on_warm_up, self._on_begin = (reconstruction, design), on_warm_up, on_begin
        self.record: Record | None = None

    def configure_optimizers(self) -> list[Optimizer]:
        experiment = self.alternation.experiment
        parameters = (experiment.reconstruction.parameters(), [experiment.design.psi])
        return [build(list(values)) for build, values in zip(self._factories, parameters, strict=True)]

    def _optimisers(self) -> Optimisers:
        reconstruction, design = cast(list[Optimizer], self.optimizers())
        return Optimisers(reconstruction, design)

    def _backward(self, loss: Tensor, inputs: Sequence[nn.Parameter]) -> None:
        self.manual_backward(loss, inputs=list(inputs))

    def on_train_start(self) -> None:
        if int(self.alternation.steps) == 0:
            total = max(self.alternation.effort.warm_up, 1)
            for index in self.alternation.warm_up(self._optimisers(), self._backward):
                self._on_warm_up((index + 1) / total)
            self._on_begin()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.record = self.alternation.step(self._optimisers(), self._backward)


@final
class Rounds(LightningDataModule):
    """Numbers of design steps, a round of them an epoch: events are drawn on the device, step by step, from streams."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def train_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(self.steps), batch_size=None)  # type: ignore[arg-type]
