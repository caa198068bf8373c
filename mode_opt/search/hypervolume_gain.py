"""Where the front of several goals is expected to gain most."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.design.lagrangian import scaled_excess
from mode_opt.search.box import Box
from mode_opt.search.front import non_dominated

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP

BASELINE = 50
"""Evaluated designs that the gain is measured against: the front, and those on the front without it, and so on."""

SAMPLES = 64
"""Quasi-random draws of the expectation."""

MARGIN = 1e-3
"""Of a constraint's scale, that a design should keep from its limit: the search ends at the kink of `violation`."""

STEEPNESS = 30.0
"""Ranges of the front by which a violation of one scale counts as worse."""

Violation = Callable[[Tensor], Tensor]
"""Designs in the unit cube, ``… x d``, to numbers that are not negative, and zero where every constraint holds."""


def violation(design: Design, box: Box) -> Violation | None:
    """How far the nonlinear constraints are violated, in their scales, beyond `MARGIN`; None if there are none."""
    constraints = design.nonlinear_constraints
    if not constraints:
        return None

    def total(unit: Tensor) -> Tensor:
        excess = scaled_excess(constraints, design.point(box.psi(unit.reshape(-1, unit.shape[-1]))))
        return torch.relu(excess + MARGIN).sum(1).reshape(unit.shape[:-1])

    return total


def allowed(design: Design, psi: Tensor) -> Tensor:
    """``m`` flags: which of ``m x d`` designs satisfy every nonlinear constraint."""
    with torch.no_grad():
        excess = scaled_excess(design.nonlinear_constraints, design.point(psi.to(design.psi)))
    return (excess <= 0).all(1).cpu()


def promising(values: Tensor) -> Tensor:
    """Indices of at most `BASELINE` of ``m x k`` values: the front, then that of what is left, and so on."""
    left, chosen = torch.arange(len(values)), torch.zeros(0, dtype=torch.int64)
    while len(left) and len(chosen) < BASELINE:
        flags = non_dominated(values[left])
        chosen, left = torch.cat([chosen, left[flags]]), left[~flags]
    return chosen[:BASELINE]


def most_gaining(
    models: Sequence["SingleTaskGP"],
    reference: Tensor,
    ranges: Tensor,
    baseline: Tensor,
    count: int,
    excess: Violation | None = None,
) -> tuple[Tensor, float]:
    """Designs with the largest noisy expected improvement of the hypervolume.

    Args:
        models: of the negative of each of ``k`` goals, over the unit cube.
        reference: ``k``, smaller is better.
        ranges: ``k``, what counts as much in each goal.
        baseline: ``r x d`` evaluated designs.
        count: ``q``; one is chosen after the other, each given those before.
        excess: of the designs, for which each goal counts as worse.

    Returns:
        ``q x d`` in the unit cube, and the gain that is expected of the first.
    """
    from botorch.acquisition.multi_objective import logei
    from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
    from botorch.acquisition.multi_objective.utils import get_default_partitioning_alpha
    from botorch.models import ModelListGP
    from botorch.optim import optimize_acqf
    from botorch.sampling import SobolQMCNormalSampler

    # BoTorch would compile a kernel with the compiler of the machine: slow once, and other digits than elsewhere.
    logei._load_attempted = True

    def penalised(samples: Tensor, X: Tensor) -> Tensor:
        assert excess is not None
        return samples - STEEPNESS * ranges * excess(X).unsqueeze(-1)

    further: dict[str, Any] = {} if excess is None else {"objective": GenericMCMultiOutputObjective(penalised)}
    sampler = SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=int(torch.randint(2**31 - 1, (1,))))
    gain = logei.qLogNoisyExpectedHypervolumeImprovement(
        ModelListGP(*models),
        -reference,
        baseline,
        sampler,
        prune_baseline=True,
        alpha=get_default_partitioning_alpha(len(models)),
        **further,
    )
    limits = torch.stack([torch.zeros_like(baseline[0]), torch.ones_like(baseline[0])])
    # Half of the designs from which the best are followed uphill are near those of the front.
    options = {"maxiter": 30, "sample_around_best": True, "sample_around_best_sigma": 0.05}
    found, value = optimize_acqf(
        gain, limits, count, 2, 128, options=options, sequential=True, retry_on_optimization_warning=False
    )
    return found.detach(), float(value.reshape(-1)[0].exp())
