import pytest
import torch
from toys import gun

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.reconstruction import CellNetwork, SetNetwork


def events(seed=0, count=64, hits=5):
    generator = torch.Generator().manual_seed(seed)
    return Events.of(torch.rand(1, count, 1, generator=generator), torch.rand(1, count, hits, 2, generator=generator))


def test_set_network_does_not_know_the_order_of_the_hits():
    batch, phi = events(), DesignPoint.of(x=1.0)
    network = SetNetwork.fitting(batch, phi)
    torch.nn.init.normal_(network.combine[-1].weight)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(1))
    permuted = Events.of(batch.truth, batch.hits[:, :, order])
    torch.testing.assert_close(network(batch, phi).mean, network(permuted, phi).mean)


@pytest.mark.parametrize("kind", [CellNetwork, SetNetwork])
def test_padding_is_ignored(kind):
    batch, phi = events(), DesignPoint.of(x=1.0)
    network = kind.fitting(batch, phi)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    mask = torch.ones(1, 64, 5, dtype=torch.bool)
    mask[:, :, 3:] = False
    clean = Events.of(batch.truth, batch.hits * mask.unsqueeze(-1), mask)
    dirty = Events.of(batch.truth, torch.where(mask.unsqueeze(-1), batch.hits, torch.tensor(1e3)), mask)
    torch.testing.assert_close(network(clean, phi).mean, network(dirty, phi).mean)


def test_an_untrained_cell_network_already_returns_the_sum_of_the_deposits():
    primaries = gun().sample(1000, torch.Generator().manual_seed(0))
    network = CellNetwork.fitting(primaries, DesignPoint.of(x=1.0))
    estimate = network(primaries, DesignPoint.of(x=1.0)).mean
    # mean of a log-normal belief of spread 0.1: exp(0.1²/2) above the median
    torch.testing.assert_close(estimate, primaries.truth * 1.005, rtol=2e-3, atol=0)


@pytest.mark.parametrize(("kind", "belief"), [(CellNetwork, "log_normal"), (SetNetwork, "normal")])
def test_training_reaches_the_width_of_the_exact_posterior(kind, belief):
    """hit = E (1 + 0.1 ε), so that log E given the hit has spread close to 0.1 (log-uniform prior, wide)."""
    generator = torch.Generator().manual_seed(5)
    phi = DesignPoint.of(x=1.0)

    def batch(count):
        primaries = gun().sample(count, generator)
        hits = primaries.hits * torch.exp(0.1 * torch.randn(primaries.hits.shape, generator=generator))
        if kind is SetNetwork:  # for the other belief: the logarithms, where noise is additive
            return Events.of(primaries.truth.log(), hits.log())
        return Events.of(primaries.truth, hits)

    torch.manual_seed(0)
    network = kind.fitting(batch(64), phi, hidden=32, belief=belief)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(600):
        training = batch(512)
        optimiser.zero_grad()
        (-network(training, phi).log_prob(training.truth).mean()).backward()
        optimiser.step()
    test = batch(20_000)
    estimate = network(test, phi).mean
    residual = (estimate / test.truth - 1) if kind is CellNetwork else (estimate - test.truth)
    assert residual.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.06)


def test_the_number_of_cells_must_fit():
    network = CellNetwork(cells=4, parameters=1, features=2)
    with pytest.raises(ConfigurationError, match=r"reconstruction\.cells: got 4, expected 5"):
        network(events(), DesignPoint.of(x=1.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"hidden": 0}, "reconstruction.hidden"), ({"belief": "cauchy"}, "reconstruction.belief: got 'cauchy'")],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        CellNetwork(cells=4, parameters=1, **arguments)
    with pytest.raises(ConfigurationError, match=message):
        SetNetwork(features=2, parameters=1, **arguments)
