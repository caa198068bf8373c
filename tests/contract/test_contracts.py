"""What every concrete class of a noun must do."""

from dataclasses import replace

import cases
import pytest
import torch
from statistical import assert_mean

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.simulation import Promise, stream

SIMULATORS = cases.simulator_cases()
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@pytest.mark.parametrize("noun", cases.NOUNS, ids=lambda noun: noun.__name__)
def test_every_concrete_class_has_an_example(noun):
    missing = cases.concrete(noun) - set(cases.NOUNS[noun]())
    assert not missing, f"add an example to tests/helpers/cases.py for {missing}"


def simulate(kind, designs, count=6, device="cpu", phi=None):
    build, points, primaries = SIMULATORS[kind]
    point = points(designs) if phi is None else phi
    point = DesignPoint(point.values.to(device), point.layout)
    return build().to(device)(point, primaries(count).to(device), stream(device, 3))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("designs", [1, 3])
@pytest.mark.parametrize("kind", SIMULATORS, ids=lambda kind: kind.__name__)
def test_simulator_shapes_dtype_and_device(kind, designs, device):
    events = simulate(kind, designs, device=device)
    assert (events.designs, events.count) == (designs, 6)
    assert events.hits.dtype == torch.get_default_dtype() and events.hits.device.type == device
    assert torch.isfinite(events.hits).all() and events.hits.mul(~events.mask.unsqueeze(-1)).eq(0).all()
    truth = SIMULATORS[kind][2](6).truth
    assert torch.equal(events.truth.cpu(), truth.expand(designs, -1, -1))


@pytest.mark.parametrize("kind", SIMULATORS, ids=lambda kind: kind.__name__)
def test_the_same_seed_gives_the_same_events_and_state_dicts_round_trip(kind):
    build, points, primaries = SIMULATORS[kind]
    first, second = build(), build()
    second.load_state_dict(first.state_dict())
    outputs = [part(points(2), primaries(6), stream("cpu", 3)).hits for part in (first, second)]
    assert torch.equal(*outputs)


def attached(kind, dtype=torch.float64):
    """One design in double precision whose values carry derivatives."""
    phi = SIMULATORS[kind][1](1)
    return DesignPoint(phi.values.to(dtype).requires_grad_(), phi.layout)


def double(events: Events) -> Events:
    return replace(events, truth=events.truth.double(), hits=events.hits.double(), weight=events.weight.double())


PATHWISE = [kind for kind in SIMULATORS if SIMULATORS[kind][0]().promise == Promise.DIFFERENTIABLE]
STOCHASTIC = [kind for kind in SIMULATORS if SIMULATORS[kind][0]().promise == Promise.STOCHASTIC]


@pytest.mark.parametrize("kind", PATHWISE, ids=lambda kind: kind.__name__)
def test_differentiable_hits_agree_with_central_differences(kind):
    """Common random numbers, double precision; each parameter, the mean over events of the summed hits."""
    build, _, primaries = SIMULATORS[kind]
    simulator, sample, phi = build().double(), double(primaries(20)), attached(kind)

    def response(values: torch.Tensor) -> torch.Tensor:
        return simulator(DesignPoint(values, phi.layout), sample, stream("cpu", 5)).hits.sum((2, 3)).mean()

    (slope,) = torch.autograd.grad(response(phi.values), phi.values)
    for column in range(phi.values.shape[1]):
        step = torch.zeros_like(phi.values)
        step[0, column] = 1e-5 * max(1.0, abs(float(phi.values[0, column].detach())))
        with torch.no_grad():
            central = (response(phi.values + step) - response(phi.values - step)) / (2 * step[0, column])
        assert slope[0, column].item() == pytest.approx(central.item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("kind", STOCHASTIC, ids=lambda kind: kind.__name__)
def test_the_mean_score_is_zero(kind):
    """E[∇ log p] = 0 within 4σ."""
    build, _, primaries = SIMULATORS[kind]
    simulator, phi = build(), attached(kind, torch.float32)
    scores = []
    for k in range(200):
        events = simulator(phi, primaries(20), stream("cpu", 9, k))
        assert events.log_probability is not None
        scores.append(torch.autograd.grad(events.log_probability.sum(), phi.values)[0][0])
    moving = torch.stack(scores).std(0) > 0
    assert moving.any(), "no parameter acts on the recorded log-probability"
    assert_mean(torch.stack(scores)[:, moving], 0.0)


@pytest.mark.parametrize("designs", [1, 3])
@pytest.mark.parametrize("kind", cases.reconstruction_cases(), ids=lambda kind: kind.__name__)
def test_reconstruction_contract(kind, designs):
    phi, events = cases.reconstructible(kind, designs)
    network = cases.reconstruction_cases()[kind](events, phi)
    belief = network(events, phi)
    assert belief.batch_shape == (designs, 6) and belief.event_shape == events.truth.shape[2:]
    assert torch.isfinite(belief.log_prob(events.truth)).all()
    assert "truth" not in network.goals or torch.isfinite(belief.mean).all()
    other = cases.reconstruction_cases()[kind](events, phi)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(events, phi).log_prob(events.truth), belief.log_prob(events.truth))


@pytest.mark.parametrize("designs", [1, 3])
@pytest.mark.parametrize("kind", cases.objective_cases(), ids=lambda kind: kind.__name__)
def test_objective_contract(kind, designs):
    """One value a design, each the same as if the design were alone; differentiable in weights and belief."""
    objective = cases.objective_cases()[kind]
    phi, events = cases.plain_point(designs), cases.deposits(kind, 50).expand(designs)
    network = cases.reconstruction_cases()[cases.CellNetwork](events, phi)
    weight = (torch.rand(designs, 50, generator=torch.Generator().manual_seed(0)) + 0.5).requires_grad_()
    events = events.reweighted(weight)
    values = objective(events, network(events, phi), phi)
    assert values.shape == (designs,)
    parts = [(events.design(k), phi.design(k)) for k in range(designs)]
    alone = [objective(part, network(part, point), point) for part, point in parts]
    torch.testing.assert_close(values, torch.cat(alone))
    if kind is not cases.DesignCost:
        assert torch.autograd.grad(values.sum(), weight)[0].abs().sum() > 0


@pytest.mark.parametrize("kind", cases.primary_cases(), ids=lambda kind: kind.__name__)
def test_primary_contract(kind):
    source = cases.primary_cases()[kind]
    events = source.sample(7, stream("cpu", 0))
    assert (events.designs, events.count) == (1, 7)
    assert len(source.truth_names) == len(source.truth_units) == events.truth.shape[2]
    assert torch.equal(events.truth, source.sample(7, stream("cpu", 0)).truth)
