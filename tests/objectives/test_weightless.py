"""Objectives at the edges of what a batch can hold: no weight, one event, equal truths, one cell."""

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import NonFiniteError
from mode_opt.events import Events
from mode_opt.experiment import jackknife
from mode_opt.objectives import PosteriorBound, Resolution, weighted_quantile
from mode_opt.reconstruction import CellNetwork, SetNetwork, normal

PHI = DesignPoint.of(x=1.0)
WIDTHS = ("rms", "spread", "quantile")


def batch(truth, weight=None, cells=1):
    truth = torch.as_tensor(truth).float()
    return Events.of(truth, truth.unsqueeze(2).expand(-1, -1, cells, -1).clone(), weight=weight)


@pytest.mark.parametrize("objective", [*(Resolution(width=w) for w in WIDTHS), PosteriorBound()])
@pytest.mark.parametrize("designs", [1, 2])
def test_no_event_with_weight_is_an_error_and_no_nan(objective, designs):
    """Also if it is only one of two designs that has none."""
    weight = torch.ones(designs, 5)
    weight[-1] = 0.0
    events = batch(torch.ones(designs, 5, 1), weight)
    phi = DesignPoint.of(x=torch.ones(designs, 1))
    with pytest.raises(NonFiniteError, match="no event with weight"):
        objective(events, normal(events.truth, events.truth), phi)
    with pytest.raises(NonFiniteError, match="no event with weight"):
        weighted_quantile(torch.ones(3), torch.zeros(3), 0.5)


def test_one_event_a_design():
    events = batch(torch.full((3, 1, 1), 10.0))
    belief, phi = normal(1.2 * events.truth, events.truth), DesignPoint.of(x=torch.ones(3, 1))
    torch.testing.assert_close(Resolution(width="rms")(events, belief, phi), torch.full((3,), 0.2))
    for width in ("spread", "quantile"):
        torch.testing.assert_close(Resolution(width=width)(events, belief, phi), torch.zeros(3))
    with pytest.raises(NonFiniteError, match="simulate more events"):  # nothing is left to leave out
        jackknife(Resolution(), events.design(0), normal(events.truth[:1], events.truth[:1]), phi.design(0))


@pytest.mark.parametrize("kind", [CellNetwork, SetNetwork])
@pytest.mark.parametrize("belief", ["normal", "log_normal"])
def test_equal_truths_and_one_cell(kind, belief):
    """Nothing varies, so that no scale can be taken from a spread; h = 1."""
    events = batch(torch.full((1, 6, 1), 50.0))
    found = kind.fitting(events, PHI, belief=belief, hidden=8)(events, PHI)
    assert torch.isfinite(found.mean).all() and torch.isfinite(found.log_prob(events.truth)).all()
    for width in WIDTHS:
        assert torch.isfinite(Resolution(width=width)(events, found, PHI)).all()


def test_a_bin_that_a_weight_empties_counts_for_the_other_design_only():
    """Truth 1 is read 10 % high, truth 100 by 50 %; the second design has no weight at 100."""
    truth = torch.tensor([1.0, 1.0, 100.0]).reshape(1, 3, 1).expand(2, -1, -1)
    events = batch(truth, torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]))
    belief = normal(truth * torch.tensor([1.1, 1.1, 1.5]).reshape(1, 3, 1), truth)
    values = Resolution(width="rms", bins=[0.5, 10.0, 200.0])(events, belief, DesignPoint.of(x=torch.ones(2, 1)))
    torch.testing.assert_close(values, torch.tensor([0.3, 0.1]))
    alone = jackknife(
        Resolution(width="rms", bins=[0.5, 10.0, 200.0]),
        events.design(0),
        normal(belief.mean[:1], truth[:1]),
        PHI,
    )
    torch.testing.assert_close(alone.left_out, torch.tensor([0.3, 0.3, 0.1]))


def test_the_bound_and_the_spread_know_the_weights():
    truth = torch.tensor([10.0, 10.0, 10.0]).reshape(1, 3, 1)
    events = batch(truth, torch.tensor([[1.0, 3.0, 0.0]]))
    belief = normal(truth * torch.tensor([0.8, 1.2, 9.0]).reshape(1, 3, 1), truth)
    mean, square = 0.25 * -0.2 + 0.75 * 0.2, 0.2**2
    expected = (square - mean**2) ** 0.5 / (1 + mean)
    assert Resolution(width="spread")(events, belief, PHI).item() == pytest.approx(expected, rel=1e-5)
    surprise = -belief.log_prob(events.truth)[0]
    expected = 0.25 * surprise[0] + 0.75 * surprise[1]
    torch.testing.assert_close(PosteriorBound()(events, belief, PHI)[0], expected)


@pytest.mark.parametrize("weights", [[1, 2, 3, 1, 2], [5, 1, 1, 1, 1], [1, 0, 4, 0, 2]])
def test_integer_weights_are_repeated_events_for_quantiles_too(weights):
    values, weight = torch.tensor([3.0, 1.0, 4.0, 1.5, 9.0]), torch.tensor(weights)
    repeated = values.repeat_interleave(weight)
    for p in (0.16, 0.5, 0.84):
        expected = weighted_quantile(repeated, torch.ones_like(repeated), p)
        torch.testing.assert_close(weighted_quantile(values, weight.float(), p), expected)
