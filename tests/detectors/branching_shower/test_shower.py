"""The simulator: recorded showers, gradients, streams, and what it refuses."""

import csv
from importlib.resources import files

import pytest
import torch
from statistical import assert_mean

from mode_opt.design import DesignPoint
from mode_opt.detectors.branching_shower import BranchingShower
from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.events import Events


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def primaries(energy: float, count: int) -> Events:
    truth = torch.full((1, count, 1), energy)
    return Events.of(truth, truth.unsqueeze(-1))


def point(absorber: float | torch.Tensor = 2.3, gap: float | torch.Tensor = 5.7, **more: float) -> DesignPoint:
    return DesignPoint.of(absorber_thickness=absorber, gap_thickness=gap, **more)


def shoot(simulator, phi, energy=200.0, count=20, seed=0):
    with torch.no_grad():
        return simulator(phi, primaries(energy, count), seeded(seed))


ROWS = {("e-", 1000.0, 2.3, 5.7), ("gamma", 1000.0, 5.0, 9.0), ("e-", 1000.0, 1.0, 2.0)}


def reference_rows() -> list[dict[str, float | str]]:
    path = files("mode_opt.detectors.sampling_calorimeter") / "data" / "em_showers_reference.csv"
    with path.open() as file:
        rows = [{k: v if k == "particle" else float(v or "nan") for k, v in r.items()} for r in csv.DictReader(file)]
    return [r for r in rows if (r["particle"], r["energy_MeV"], r["absorber_mm"], r["gap_mm"]) in ROWS]


@pytest.mark.parametrize("row", reference_rows(), ids=lambda r: f"{r['particle']}-{r['absorber_mm']}-{r['gap_mm']}")
def test_recorded_showers(row):
    """Means within 10 %, the resolution within 25 % (250 showers: 4.5 % statistical); none was fitted."""
    absorber, gap = row["absorber_mm"], row["gap_mm"]
    particle = {"e-": "electron", "gamma": "photon"}[row["particle"]]
    simulator = BranchingShower(50, "PbWO4", "lAr", absorber, gap, particle=particle, absorber_deposits=True)
    hits = shoot(simulator, point(absorber, gap), row["energy_MeV"], 250).hits[0]
    energy, profile = hits[:, :, 0].sum(1), hits.sum(2).mean(0)
    depth = (profile * (torch.arange(50) + 0.5)).sum() / profile.sum() * (absorber + gap)
    assert float(energy.mean()) == pytest.approx(row["edep_gap_mean"], rel=0.1)
    assert float(hits[:, :, 1].sum(1).mean()) == pytest.approx(row["edep_absorber_mean"], rel=0.1)
    assert float(energy.std() / energy.mean()) == pytest.approx(row["gap_resolution"], rel=0.25)
    assert float(depth) == pytest.approx(row["shower_depth_mm"], rel=0.1)


def slopes(events: Events, phi: DesignPoint, observable: torch.Tensor, parts: int) -> torch.Tensor:
    """Leave-one-out score estimates of d<observable>/d phi from equal parts of the events, ``parts x d``."""
    found = []
    for values, scores in zip(observable.chunk(parts), events.log_probability[0].chunk(parts), strict=True):
        centred = (values - values.mean()) * len(values) / (len(values) - 1)
        found.append(torch.autograd.grad((centred * scores).mean(), phi.values, retain_graph=True)[0][0])
    return torch.stack(found)


def test_the_score_gives_the_derivative_of_a_mean():
    """d<gap energy>/d thicknesses of 60 MeV electrons in 8 layers, leave-one-out, against central differences."""
    simulator, phi = BranchingShower(8, absorber_reference=4.0), point(4.0)
    phi.values.requires_grad_()
    events = simulator(phi, primaries(60.0, 6000), seeded())
    found = slopes(events, phi, events.hits[0, :, :, 0].sum(1).detach(), 20)
    ends = [(point(3.8), point(4.2)), (point(4.0, 5.4), point(4.0, 6.0))]
    for column, (low, high) in enumerate(ends):
        step = float((high.values - low.values)[0, column])
        a, b = (shoot(simulator, end, 60.0, 3000, 100).hits[0, :, :, 0].sum(1) for end in (low, high))
        central, noise = float((b - a).mean()) / step, float((b - a).std()) / 3000**0.5 / step
        error = (float(found[:, column].var()) / 20 + noise**2) ** 0.5
        assert abs(float(found[:, column].mean()) - central) < 4 * error
        assert abs(central) > 6 * error, "the test must be able to fail"


def test_every_layer_has_its_own_derivative_and_the_sum_is_that_of_one_for_all():
    simulator = BranchingShower(4)
    one, each = point(2.3, 5.7), point(torch.full((1, 4), 2.3), torch.full((1, 4), 5.7))
    scores = []
    for phi in (one, each):
        phi.values.requires_grad_()
        events = simulator(phi, primaries(100.0, 30), seeded())
        scores.append(torch.autograd.grad(events.log_probability.sum(), phi.values)[0][0])
    torch.testing.assert_close(scores[0], scores[1].unflatten(0, (2, 4)).sum(1), rtol=1e-3, atol=1e-2)
    assert bool((scores[1] != 0).all())


def test_the_mean_score_is_zero():
    simulator, phi = BranchingShower(2, front_reference=5.0), point(front_thickness=5.0)
    phi.values.requires_grad_()
    events = simulator(phi, primaries(60.0, 2000), seeded())
    parts = events.log_probability[0].chunk(40)
    scores = [torch.autograd.grad(part.mean(), phi.values, retain_graph=True)[0][0] for part in parts]
    assert_mean(torch.stack(scores), 0.0)


def test_an_event_does_not_depend_on_the_others_in_the_batch():
    """Same seed: the first events of a larger batch, and of several designs, are the same showers."""
    simulator = BranchingShower(10)
    few, many = (shoot(simulator, point(), count=count).hits for count in (4, 12))
    torch.testing.assert_close(few, many[:, :4], rtol=1e-5, atol=1e-4)
    several = point(torch.tensor([[2.3], [2.0]]), torch.tensor([[5.7], [5.0]]))
    torch.testing.assert_close(shoot(simulator, several, count=4).hits[:1], few, rtol=1e-5, atol=1e-4)
    assert not torch.equal(few, shoot(simulator, point(), count=4, seed=1).hits)


def test_too_many_particles_are_an_error():
    simulator = BranchingShower(10, capacity=50)
    with pytest.raises(SimulationError, match=r"exceed the capacity of 50; raise simulator\.capacity"):
        shoot(simulator, point(), 1000.0, 10)


def test_a_slab_in_front_moves_the_shower_forward():
    """Two radiation lengths of absorber in front: the first gap sees more of it, and the mean depth is smaller."""
    simulator = BranchingShower(20, front_reference=1.0)
    thin, thick = (shoot(simulator, point(front_thickness=t), 300.0, 150).hits[0, :, :, 0].mean(0) for t in (0.1, 18.0))
    depth = [float((profile * torch.arange(20)).sum() / profile.sum()) for profile in (thin, thick)]
    assert thick[0] > 2 * thin[0] and depth[1] < depth[0] - 2


def test_every_slab_has_the_thickness_of_its_parameter():
    simulator = BranchingShower(2, front_reference=1.0)
    phi = point(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), front_thickness=9.0)
    rows = DesignPoint(phi.values.expand(5, -1), phi.layout)
    assert simulator._thickness(rows, torch.arange(5)).tolist() == [9.0, 1.0, 3.0, 2.0, 4.0]
    assert BranchingShower(2)._thickness(rows, torch.arange(4)).tolist() == [1.0, 3.0, 2.0, 4.0]


def test_several_primaries_and_padding():
    """Energies of padded primaries do not count; two particles of an event have streams of their own."""
    energy = torch.tensor([[[100.0, 100.0], [100.0, 999.0]]]).unsqueeze(-1)
    mask = torch.tensor([[[True, True], [True, False]]])
    events = Events.of(torch.full((1, 2, 1), 100.0), energy, mask)
    simulator = BranchingShower(20, absorber_deposits=True)
    with torch.no_grad():
        total = simulator(point(), events, seeded()).hits.sum((2, 3))[0]
    assert 110 < float(total[0]) < 200.1 and 50 < float(total[1]) < 100.1


def test_designs_in_double_precision_give_the_same_showers():
    phi = point()
    double = DesignPoint(phi.values.double(), phi.layout)
    single, found = shoot(BranchingShower(8), phi).hits, shoot(BranchingShower(8), double).hits
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), single, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"absorber": "cheese"}, "simulator.material: got 'cheese'"),
        ({"particle": "muon"}, "simulator.particle: got 'muon', expected one of photon, electron, positron"),
        ({"width": -1.0}, "simulator.width: got -1.0"),
        ({"layers": 3, "gap_reference": [1.0, 2.0]}, "simulator.gap_reference: .* expected 1 or 3"),
        ({"absorber_reference": 0.0}, "simulator.absorber_reference: got 0.0"),
        ({"capacity": 0}, "simulator.capacity"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        BranchingShower(**arguments)


@pytest.mark.parametrize("energy", [0.0, -5.0, float("nan"), 1e7])
def test_primaries_without_a_usable_energy_are_refused(energy):
    with pytest.raises(SimulationError, match="energies between 0 and 200000 MeV"):
        shoot(BranchingShower(3), point(), energy)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_gives_the_same_showers_on_average():
    simulator = BranchingShower(20)
    phi, events = point(), primaries(300.0, 300)
    with torch.no_grad():
        here = simulator(phi, events, seeded()).hits[0, :, :, 0].sum(1)
        there = (
            simulator.cuda()(
                DesignPoint(phi.values.cuda(), phi.layout), events.to("cuda"), torch.Generator("cuda").manual_seed(0)
            )
            .hits[0, :, :, 0]
            .sum(1)
        )
    error = ((here.var() + there.cpu().var()) / 300).sqrt()
    assert abs(float((here.mean() - there.cpu().mean()) / error)) < 4
