r"""How far one population of events is from another."""

import copy
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.data import RootReader
from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, DataError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives.base import Objective
from mode_opt.objectives.reading import classes, finite, known_source, positive, read


def sorted_transport(x: Tensor, y: Tensor, x_weight: Tensor, y_weight: Tensor, power: float = 2.0) -> Tensor:
    r"""Exact optimal transport on a line, by sorting: :math:`W_p^p/p`.

    .. math:: \frac{1}{p} W_p^p = \frac{1}{p} \int_0^1 |F^{-1}(u) - G^{-1}(u)|^p\, du

    with the quantile functions of the weighted samples. For a translation by m and p = 2 it is :math:`m^2/2`. The
    derivative with respect to a weight is that of the side from which the sum of the weights comes where quantiles of
    both samples jump at the same u; the two sides differ by the distance of neighbours.

    Args:
        x: ``n`` numbers.
        y: ``m`` numbers.
        x_weight: ``n``, not negative; only their ratios matter.
        y_weight: ``m``, likewise.
        power: p ≥ 1.

    Returns:
        A scalar.

    Source: F. Santambrogio, Optimal Transport for Applied Mathematicians (2015), proposition 2.17.
    """
    (x, upper_x), (y, upper_y) = _quantiles(x, x_weight), _quantiles(y, y_weight)
    edges, order = torch.cat([upper_x[:-1], upper_y[:-1]]).sort(stable=True)
    one = torch.ones_like(upper_x[:1])
    widths = torch.diff(torch.cat([0 * one, edges, one]))
    # Which pair shares a piece follows from the order of the edges, where two of them coincide too: a piece without
    # width there has the cost that its width would have.
    passed = torch.cat([0 * order[:1], (order < len(x) - 1).long()]) if len(order) else order.new_zeros(1)
    i = passed.cumsum(0)
    j = torch.arange(len(i), device=i.device) - i
    return (widths * (x[i] - y[j]).abs() ** power).sum() / power


def _quantiles(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted values, and the probability up to and including each."""
    order = x.argsort()
    upper = weight[order].cumsum(0)
    return x[order], upper / upper[-1]


def sinkhorn_divergence(
    x: Tensor, y: Tensor, x_weight: Tensor, y_weight: Tensor, blur: float = 0.05, scaling: float = 0.95
) -> Tensor:
    r"""Debiased entropic transport between two weighted samples, with the cost :math:`|x - y|^2/2`.

    .. math:: S = OT_\epsilon(\alpha, \beta) - \tfrac12 OT_\epsilon(\alpha, \alpha)
        - \tfrac12 OT_\epsilon(\beta, \beta), \qquad \epsilon = \text{blur}^2

    It is not negative, zero for equal samples, and tends to :math:`W_2^2/2` for a small blur and to half the squared
    distance of the means for a large one. A translation by m has :math:`S = m^2/2` whatever the blur, with derivative
    m/n for each of n points. Between Gaussians of covariances A and B the limit of small blur is
    :math:`\tfrac12 |m|^2 + \tfrac12 \operatorname{tr}(A + B - 2 (A^{1/2} B A^{1/2})^{1/2})`.

    Two samples of the same law are not at 0: with n points in d dimensions they are about :math:`n^{-2/d}` apart (0.05
    for n = 1000 standard normal points, d = 3, a small blur), so that values are to be compared with that of a sample
    of the same law and size. The effort grows with n m: 0.2 s for 500 points a side, 3 s for 2000 (with derivatives).

    Args:
        x: ``n x d``.
        y: ``m x d``.
        x_weight: ``n``, not negative; only their ratios matter.
        y_weight: ``m``, likewise.
        blur: √ε, in units of x: structure below it does not count.
        scaling: ratio of successive blurs on the way down, one iteration each: nearer to 1 is more exact and slower.
            There is no further iteration at the last one. Measured for 40 against 30 normal points in two dimensions
            with blur 0.2: 0.8 is 4 % off in value and 5 % of the largest derivative, 0.995 is 0.03 % and 2.5 %,
            0.999 0.4 % of it; with blur 1, 0.8 is 0.5 % and 1.3 % off. A small derivative beside a large one can be
            off by more: of recorded Z masses (blur 0.5 GeV) 0.8 misses 5 % of the derivative in the scale and 40 % of
            that in the resolution, 0.95 1 % and 9 % (docs/benchmarks/sinkhorn.md).

    Returns:
        A scalar. Its derivatives are those at fixed dual potentials (envelope theorem).

    Source: J. Feydy et al., AISTATS 2019, arXiv 1810.08278 (geomloss).
    """
    from geomloss import SamplesLoss  # imported where it is needed: not every objective is a transport

    with torch.no_grad():
        points = torch.cat([x, y])
        # All points in one place have no diameter from which the blur could come down.
        diameter = max(float(torch.linalg.vector_norm(points.amax(0) - points.amin(0))), blur)
    options = {"blur": blur, "scaling": scaling, "diameter": diameter}
    loss = SamplesLoss("sinkhorn", p=2, debias=True, backend="tensorized", **options)
    followed = torch.is_grad_enabled()
    with torch.set_grad_enabled(followed):  # geomloss leaves derivatives switched on behind itself
        value: Tensor = loss(x_weight / x_weight.sum(), x, y_weight / y_weight.sum(), y)
    return value.reshape(()) if followed else value.detach().reshape(())


def binned_divergence(
    x: Tensor, y: Tensor, x_weight: Tensor, y_weight: Tensor, blur: float, scaling: float = 0.95, bins: int = 200
) -> Tensor:
    r"""`sinkhorn_divergence` of samples on a line whose weights are shared out to the points of a grid.

    A number x between the grid points g and g + h gives them ``(g + h - x)/h`` and ``(x - g)/h`` of its weight, which
    keeps the mean, adds at most h²/4 to the square of the width of either sample, and has derivatives. The grid
    reaches from the smallest to the largest number of both. The effort grows with the square of the bins, not with
    the size of the samples: 445 against 1024 numbers with 160 bins take 0.02 s in the place of 0.5 s. There bins of a
    quarter of the blur change value and derivatives by 0.1 to 1.5 % (docs/benchmarks/sinkhorn.md).

    Args:
        x: ``n`` numbers.
        y: ``m`` numbers.
        x_weight: ``n``, not negative; only their ratios matter.
        y_weight: ``m``, likewise.
        blur: as for `sinkhorn_divergence`, positive.
        scaling: likewise.
        bins: of the grid.

    Returns:
        A scalar.
    """
    both = torch.cat([x, y]).detach()
    low, high = both.amin(), both.amax()
    spacing = ((high - low) / bins).clamp_min(torch.finfo(x.dtype).tiny)
    points = (low + spacing * torch.arange(bins + 1, dtype=x.dtype, device=x.device)).unsqueeze(1)
    shares = []
    for values, weight in ((x, x_weight), (y, y_weight)):
        place = (values - low) / spacing
        left = place.detach().floor().clamp(0, bins - 1).long()
        upper = place - left
        empty = torch.zeros(bins + 1, dtype=x.dtype, device=x.device)
        shares.append(empty.index_add(0, left, weight * (1 - upper)).index_add(0, left + 1, weight * upper))
    return sinkhorn_divergence(points, points, shares[0], shares[1], blur, scaling)


class _Metric:
    """Scales, blur and size that the transports share."""

    def __init__(
        self,
        scales: Sequence[float],
        features: Sequence[int],
        blur: float,
        size: int | None,
        scaling: float,
        bins: int | None,
    ) -> None:
        features = list(features)
        if not features:
            raise ConfigurationError("objective.features", features, "at least one index")
        if not blur >= 0 or blur == float("inf") or (blur == 0 and len(features) != 1):
            raise ConfigurationError("objective.blur", blur, "a positive number, or 0 (exact) for a single feature")
        if size is not None and size < 1:
            raise ConfigurationError("objective.size", size, "at least 1 event, or null for all")
        if len(scales) not in (1, len(features)):
            raise ConfigurationError("objective.scales", list(scales), f"1 or {len(features)} positive numbers")
        self.scales = [positive("objective.scales", float(scale)) for scale in scales]
        if not 0 < scaling < 1:
            raise ConfigurationError("objective.scaling", scaling, "a ratio between 0 and 1")
        if bins is not None and (bins < 1 or len(features) != 1):
            raise ConfigurationError("objective.bins", bins, "at least 1, of a single feature, or null for none")
        self.features, self.blur, self.size, self.scaling, self.bins = features, blur, size, scaling, bins

    def some(self, count: int, device: torch.device) -> Tensor:
        """Indices of the events that count, ``size`` of them, always the same ones of so many."""
        if self.size is None or count <= self.size:
            return torch.arange(count, device=device)
        # At random: estimators append events of weight 0, and the jackknife leaves out every k-th.
        chosen = torch.randperm(count, generator=torch.Generator().manual_seed(count))[: self.size]
        return chosen.sort().values.to(device)

    def distance(self, x: Tensor, y: Tensor, x_weight: Tensor, y_weight: Tensor) -> Tensor:
        """Between ``n x d`` and ``m x d`` in field units, in double precision."""
        for name, weight in (("first", x_weight), ("second", y_weight)):
            if not bool(weight.detach().sum() > 0):
                raise NonFiniteError(f"the {name} population has no event with weight: simulate more events")
        scale = torch.tensor(self.scales, dtype=torch.float64, device=x.device)
        weights = x_weight.double(), y_weight.double()
        x, y = finite("a population", x).double() / scale, finite("a population", y).double() / scale
        if self.blur == 0:
            return sorted_transport(x[:, 0], y[:, 0], *weights)
        if self.bins is not None:
            return binned_divergence(x[:, 0], y[:, 0], *weights, self.blur, self.scaling, self.bins)
        return sinkhorn_divergence(x, y, *weights, blur=self.blur, scaling=self.scaling)


@final
class Sinkhorn(Objective):
    r"""Sinkhorn divergence between what is found and what is true, or between what is simulated and what was recorded.

    The populations are compared, not event by event: the spectrum of the estimates with that of the truth (unfolded
    resolution: an estimate that shrinks to the mean is penalised), or, with ``recorded``, a feature of the simulated
    events with columns of a ROOT file, to tune a simulator to data. See `sinkhorn_divergence` for the formula, its
    sample floor and its cost; of more events than ``size`` a fixed random subset is taken, of each population.

    Args:
        source: ``belief`` (its mean), ``hits`` (the first one) or ``truth``: where the population comes from.
        features: its features, ``d``.
        against: with what it is compared, likewise.
        against_features: those features, ``d``; None: the same.
        recorded: reader of recorded events; its columns of numbers, in order, but for ``weight``, are the ``d``
            features to compare with, in field units, instead of ``against``.
        weight: name of the column of ``recorded`` that holds weights; None: all equal.
        scales: what counts as one of each feature, in field units; one number is for all.
        blur: in units of the scales; 0 is exact transport on a line, by sorting (a single feature).
        size: largest number of events of each population; None: all.
        scaling: of the blur, see `sinkhorn_divergence`.
        bins: of the grid for a single feature with a blur, see `binned_divergence`; None: none.

    Raises:
        ConfigurationError: for an unknown source, scales or a size that are not positive, unequal numbers of features.
        DataError: if a recorded column is no plain number per entry, or the weights are negative or all 0.
        NonFiniteError: when called, if a population has no event with weight or holds a NaN.
    """

    values: Tensor
    weights: Tensor

    def __init__(
        self,
        source: str = "belief",
        features: Sequence[int] = (0,),
        against: str = "truth",
        against_features: Sequence[int] | None = None,
        recorded: RootReader | None = None,
        weight: str | None = None,
        scales: Sequence[float] = (1.0,),
        blur: float = 0.05,
        size: int | None = 512,
        scaling: float = 0.95,
        bins: int | None = None,
    ) -> None:
        super().__init__()
        self.metric = _Metric(scales, features, blur, size, scaling, bins)
        self.source, self.against = known_source("objective.source", source), known_source("objective.against", against)
        self.against_features = list(features if against_features is None else against_features)
        values, weights = (torch.zeros(0, 1), torch.zeros(0)) if recorded is None else recorded_sample(recorded, weight)
        self.recorded = recorded is not None
        width = values.shape[1] if self.recorded else len(self.against_features)
        if width != len(self.metric.features):
            raise ConfigurationError("objective.features", self.metric.features, f"{width}, as many as compared with")
        chosen = self.metric.some(len(weights), weights.device)
        self.register_buffer("values", values[chosen], persistent=False)
        self.register_buffer("weights", weights[chosen], persistent=False)

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        chosen = self.metric.some(events.count, events.weight.device)
        found = read(events, belief, self.source, self.metric.features)[:, chosen]
        weight = events.weight[:, chosen]
        if self.recorded:
            pairs = [(x, self.values, w, self.weights) for x, w in zip(found, weight, strict=True)]
        else:
            true = read(events, belief, self.against, self.against_features)[:, chosen]
            pairs = [(x, y, w, w) for x, y, w in zip(found, true, weight, strict=True)]
        return torch.stack([self.metric.distance(*pair) for pair in pairs]).to(found.dtype)


def _comparisons(objective: Objective) -> tuple[Objective, list[Sinkhorn]]:
    """A copy of an objective, and what in it compares with recorded events.

    Raises:
        ConfigurationError: if nothing does.
    """
    other = copy.deepcopy(objective)
    found = [part for part in other.modules() if isinstance(part, Sinkhorn) and part.recorded]
    if not found:
        raise ConfigurationError("objective", type(objective).__name__, "one that compares with recorded events")
    return other, found


def resampled(objective: Objective, generator: torch.Generator | None = None) -> Objective:
    """The same objective with a bootstrap sample of the recorded events.

    Every `Sinkhorn` in it that has recorded events counts each of them as often as it is drawn, with replacement;
    several are drawn independently.

    Args:
        objective: a `Sinkhorn`, or one made of them.
        generator: source of the draws, on the device of the recorded events.

    Raises:
        ConfigurationError: if nothing in it was recorded.

    Source: B. Efron, Ann. Statist. 7 (1979) 1.
    """
    other, found = _comparisons(objective)
    for part in found:
        count = len(part.weights)
        drawn = torch.randint(count, (count,), generator=generator, device=part.weights.device)
        part.weights = part.weights * torch.bincount(drawn, minlength=count)
    return other


def toy_recorded(
    objective: Objective, events: Events, belief: Distribution, generator: torch.Generator | None = None
) -> Objective:
    """The same objective with simulated events in the place of the recorded ones, as many as these are worth.

    Args:
        objective: a `Sinkhorn` with recorded events, or one made of such.
        events: simulated, of one design; many more than recorded ones, of which some are drawn by their weights.
        belief: about them.
        generator: source of the draws, on the device of the events.

    Raises:
        ConfigurationError: if nothing in it was recorded.
    """
    other, found = _comparisons(objective)
    for part in found:
        count = max(round(float(part.weights.sum() ** 2 / part.weights.square().sum())), 1)
        drawn = torch.multinomial(events.weight[0].double(), count, replacement=True, generator=generator)
        part.values = read(events, belief, part.source, part.metric.features)[0, drawn].detach().double()
        part.weights = torch.ones_like(part.values[:, 0])
    return other


def recorded_sample(reader: RootReader, weight: str | None) -> tuple[Tensor, Tensor]:
    """Columns of a reader as ``n x d``, but for that of the weights, ``n`` (ones if it has no name).

    Raises:
        DataError: if a column is no plain number per entry, or the weights are negative or all 0.
        ConfigurationError: if there is no column of that name, or no other.
    """
    read_columns = reader.read()
    names = [name for name in reader.names if name != weight]
    if not names:
        raise ConfigurationError("objective.recorded.branches", list(reader.names), "a column to compare with")
    columns = []
    for name in [*names, *([] if weight is None else [weight])]:
        column = read_columns[name]
        if not isinstance(column, Tensor) or column.ndim != 1:
            raise DataError(
                f"{reader.files[0]}: column {name!r} has no single number per entry; pick one, as in x[:, 0]"
            )
        columns.append(column.double())
    weights = torch.ones_like(columns[0]) if weight is None else columns.pop()
    if bool((weights < 0).any()) or not bool(weights.sum() > 0):
        raise DataError(f"{reader.files[0]}: the weights {weight!r} must not be negative, and not all 0")
    return torch.stack(columns, 1), weights


@final
class Separation(Objective):
    """``−S``, the Sinkhorn divergence between the populations of two classes (`sinkhorn_divergence`): far is good.

    Args:
        source: ``belief`` (its mean), ``hits`` (the first one) or ``truth``: where the features come from.
        features: their indices.
        target: index of the truth feature that tells signal from background.
        boundary: signal are the events in which that feature is above this value.
        scales: what counts as one of each feature, in field units; one number is for all.
        blur: in units of the scales; 0 is exact transport on a line, by sorting (a single feature).
        size: largest number of events of both classes together; None: all.
        scaling: of the blur, see `sinkhorn_divergence`.
        bins: of the grid for a single feature with a blur, see `binned_divergence`; None: none.

    Raises:
        ConfigurationError: for an unknown source, or scales or a size that are not positive.
        NonFiniteError: when called, if a class has no event with weight or a feature is not finite.
    """

    def __init__(
        self,
        source: str = "belief",
        features: Sequence[int] = (0,),
        target: int = 0,
        boundary: float = 0.5,
        scales: Sequence[float] = (1.0,),
        blur: float = 0.05,
        size: int | None = 1024,
        scaling: float = 0.95,
        bins: int | None = None,
    ) -> None:
        super().__init__()
        self.metric = _Metric(scales, features, blur, size, scaling, bins)
        self.source, self.target, self.boundary = known_source("objective.source", source), target, boundary

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        chosen = self.metric.some(events.count, events.weight.device)
        found = read(events, belief, self.source, self.metric.features)[:, chosen]
        signal = classes(events.select(chosen), self.target, self.boundary)
        triples = zip(found, events.weight[:, chosen], signal, strict=True)
        values = [-self.metric.distance(x[s], x[~s], w[s], w[~s]) for x, w, s in triples]
        return torch.stack(values).to(found.dtype)
