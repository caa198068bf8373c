import pytest
import torch

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives import DesignCost, PosteriorBound, WeightedSum
from mode_opt.reconstruction import normal

EVENTS = Events.of(torch.zeros(1, 1000, 1), torch.zeros(1, 1000, 1, 1))


def test_cost_of_a_derived_quantity_and_its_gradient():
    design = Design(
        {"x": {"start": 2.0, "bounds": [1.0, 4.0], "unit": "mm"}},
        derived={"area": {"expression": "x * x", "unit": "mm^2"}},
    )
    phi = design()
    cost = DesignCost("area", scale=2.0)(EVENTS, normal(torch.zeros(1, 1, 1), torch.ones(1, 1, 1)), phi)
    (slope,) = torch.autograd.grad(cost.sum(), phi.values)
    assert cost.item() == pytest.approx(2.0, rel=1e-5)
    assert slope.item() == pytest.approx(2.0, rel=1e-5)  # d(x²/2)/dx = x


def test_weighted_sum_adds_values():
    phi = DesignPoint.of(x=2.0, y=5.0)
    total = WeightedSum({"x": DesignCost("x"), "y": DesignCost("y")}, {"x": 3.0, "y": 0.5})
    assert total(EVENTS, normal(torch.zeros(1, 1, 1), torch.ones(1, 1, 1)), phi).item() == pytest.approx(8.5)


def test_weights_and_terms_must_match():
    with pytest.raises(ConfigurationError, match=r"objective\.weights"):
        WeightedSum({"x": DesignCost("x")}, {"y": 1.0})
    with pytest.raises(ConfigurationError, match=r"objective\.scale"):
        DesignCost("x", scale=0.0)


@pytest.mark.parametrize("snr", [0.25, 1.0, 9.0])
def test_posterior_bound_gives_the_information_of_a_gaussian_channel(snr):
    """y = x + noise: I(x; y) = ½ log(1 + SNR) = H(x) − ⟨−log q⟩ for the exact posterior q."""
    generator = torch.Generator().manual_seed(3)
    truth = torch.randn(1, 200_000, 1, generator=generator, dtype=torch.float64)
    hits = truth + torch.randn(truth.shape, generator=generator, dtype=torch.float64) / snr**0.5
    gain = snr / (1 + snr)
    belief = normal(gain * hits, torch.full_like(hits, (1 - gain) ** 0.5))
    events = Events.of(truth, hits.unsqueeze(-1))
    surprise = PosteriorBound()(events, belief, DesignPoint.of(x=1.0)).item()
    entropy = 0.5 * torch.log(torch.tensor(2 * torch.pi * torch.e)).item()
    information = 0.5 * torch.log(torch.tensor(1 + snr)).item()
    assert entropy - surprise == pytest.approx(information, abs=4 * 0.71 / 200_000**0.5)  # std of −log q is 1/√2


@pytest.mark.parametrize("name", ["gain 0.9", "values", "train"])
def test_parts_may_have_any_name(name):
    """Also names that a torch module could not have."""
    total = WeightedSum({name: DesignCost("x"), "other": DesignCost("x")}, {name: 2.0, "other": 1.0})
    assert set(total.parts) == {name, "other"}
    belief = normal(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    assert total(EVENTS, belief, DesignPoint.of(x=3.0)).item() == pytest.approx(9.0)
