"""The toy programs against the formulas of the paper and against known means."""

import math
import random

import pytest
import torch
from statistical import assert_mean

from mode_opt.design import DesignPoint
from mode_opt.detectors.branching_toy import REFERENCES, BranchingToy, CentralSource, RadiusDeviation, branching_toy
from mode_opt.detectors.branching_toy.program import interaction_probability
from mode_opt.errors import ConfigurationError, ShapeError, SimulationError
from mode_opt.events import Events
from mode_opt.gradients import ScoreFunction
from mode_opt.simulation import Choices, stream
from mode_opt.simulation.choices import Chooser, Drawing, Law, Lineages, Site

VARIANTS = tuple(REFERENCES)
COUNT = 16_000


def probability(x: float, y: float, theta: float) -> float:
    """P as it is written in the paper's code."""
    r, a = math.hypot(x, y), math.atan2(x, y)
    edges = (10 * (r - theta), -10 * (r - theta - 10), -10 * math.sin(10 * (a + 2 * r)), -10 * math.cos(10 * (r - 2)))
    return 0.5 * math.prod(1 / (1 + math.exp(-edge)) for edge in edges)


def plain(variant: str, theta: float, source: random.Random) -> tuple[float, int]:
    """One event, particle by particle: mean radius of the points, and their number."""
    angle = source.uniform(-math.pi, math.pi)
    pending, radii = [(0.0, 0.0, math.cos(angle), math.sin(angle), 25.0)], []
    while pending:
        x, y, px, py, energy = pending.pop()
        old, x, y = math.hypot(x, y), x + 0.02 * px, y + 0.02 * py
        if energy < 0.5 or math.hypot(x, y) > 20:
            radii.append(old)
        elif source.random() >= probability(x, y, theta):
            pending.append((x, y, px, py, energy))
        else:
            radii.append(old)
            signs = [(1, 1), (-1, -1)] if variant == "shower" else [source.choices((-1, 1), k=2)]
            rest = energy / 2 if variant == "shower" else max(energy - 2, 0.0)
            for right, up in signs:
                qx, qy = px + 0.05 * right, py + 0.05 * up
                norm = math.hypot(qx, qy)
                pending.append((x, y, qx / norm, qy / norm, rest))
    return sum(radii) / len(radii), len(radii)


def simulated(variant: str, theta: float, count: int, seed: int = 1) -> Events:
    point = DesignPoint.of(inner_radius=theta)
    with torch.no_grad():
        return BranchingToy(variant)(point, CentralSource().sample(count, stream("cpu", seed)), stream("cpu", seed, 1))


@pytest.fixture(scope="module", params=VARIANTS)
def recorded(request):
    """The variant, its objective per event and d log p/dθ per event at the design of the references."""
    detector = branching_toy(variant=request.param)
    theta = torch.full((1, 1), REFERENCES[request.param].inner_radius, requires_grad=True)
    phi = DesignPoint(theta, DesignPoint.of(inner_radius=1.0).layout)
    events = detector.simulator()(phi, detector.primaries.sample(COUNT, stream("cpu", 5)), stream("cpu", 6))
    return request.param, detector.objective.each(events)[0], scores(events, theta), events


def scores(events: Events, theta: torch.Tensor) -> torch.Tensor:
    """d log p/dθ of each event: ``d/dv`` of the derivative of ``v · log p``, which is linear in v."""
    v = torch.zeros_like(events.log_probability, requires_grad=True)
    (slope,) = torch.autograd.grad((v * events.log_probability).sum(), theta, create_graph=True)
    return torch.autograd.grad(slope.sum(), v)[0][0]


def test_every_event_has_the_same_number_of_points(recorded):
    variant, _, _, events = recorded
    assert events.hits[..., 1].unique().tolist() == [REFERENCES[variant].points]


def test_the_known_mean_of_the_objective(recorded):
    variant, objective, _, _ = recorded
    assert_mean(objective, REFERENCES[variant].objective)


def test_the_known_gradient_and_the_known_noise_of_scores(recorded):
    """Standard deviations within 5 %: four standard errors of that of a sample with kurtosis 10."""
    variant, objective, score, _ = recorded
    known = REFERENCES[variant]
    assert_mean(score, 0.0)
    assert_mean(objective * score, known.gradient)
    assert (objective * score).std().item() == pytest.approx(known.score_deviation, rel=0.05)
    centred = (objective - objective.mean()) * score
    assert_mean(centred, known.gradient)
    assert centred.std().item() == pytest.approx(known.baseline_deviation, rel=0.05)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_estimator_finds_the_known_gradient(variant):
    detector = branching_toy(variant=variant, design={"parameters": {"inner_radius": {"start": 2.5}}})
    design, samples = detector.design, []
    (jacobian,) = torch.autograd.grad(design().values.sum(), design.psi)

    def score(events: Events, phi: DesignPoint) -> torch.Tensor:
        return detector.objective(events, detector.reconstruction(events, phi)(events, phi), phi)

    for batch in range(20):
        generator = stream("cpu", 3, batch)
        loss = ScoreFunction().loss(
            detector.simulator(), design, detector.primaries.sample(500, generator), score, generator
        )
        samples.append(torch.autograd.grad(loss, design.psi)[0] / jacobian)
    assert_mean(torch.cat(samples), REFERENCES[variant].gradient)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("theta", [1.0, 3.4])
def test_a_plain_program_has_the_same_radius_deviation(variant, theta):
    source = random.Random(4)
    slow = torch.tensor([plain(variant, theta, source) for _ in range(300)], dtype=torch.float64)
    assert slow[:, 1].unique().tolist() == [REFERENCES[variant].points]
    hits = simulated(variant, theta, 2000).hits[0, :, 0]
    fast = (hits[:, 0] / hits[:, 1]).double()
    error = (slow[:, 0].var() / len(slow) + fast.var() / len(fast)).sqrt()
    assert abs(slow[:, 0].mean() - fast.mean()) < 4 * error
    assert fast.std().item() == pytest.approx(slow[:, 0].std().item(), rel=0.25)


def test_the_probability_and_its_derivative():
    places = 10 * (2 * torch.rand(200, 2, generator=stream("cpu", 1), dtype=torch.float64) - 1)
    x, y = places.unbind(1)
    theta = torch.linspace(0.3, 3.9, 200, dtype=torch.float64).requires_grad_()
    found = interaction_probability(x, y, torch.hypot(x, y), theta)
    (slope,) = torch.autograd.grad(found.sum(), theta)
    for k in range(200):
        place, at = (float(x[k]), float(y[k])), float(theta[k].detach())
        assert float(found[k].detach()) == pytest.approx(probability(*place, at), rel=1e-9, abs=1e-300)
        central = (probability(*place, at + 1e-5) - probability(*place, at - 1e-5)) / 2e-5
        assert slope[k].item() == pytest.approx(central, rel=1e-4, abs=1e-10)


class Always(Chooser):
    """Every coin falls on its one."""

    def choose(self, law: Law, site: Site) -> torch.Tensor:
        return torch.ones(law.shape)


def interaction(variant: str, count: int, px: float, py: float):
    """One step of particles of 8 MeV at (3, 4) mm that interact."""
    state = {"x": 3.0, "y": 4.0, "radius": 5.0, "px": px, "py": py, "energy": 8.0}
    state = {name: torch.full((count,), value) for name, value in state.items()}
    phi = DesignPoint(torch.full((count, 1), 2.5), DesignPoint.of(inner_radius=2.5).layout)
    lineages = Lineages.of_events(1, count, 3).flat(torch.arange(count))
    return BranchingToy(variant).step(phi, state, Choices(lineages, Always()))


def test_an_interaction_of_the_shower_splits_the_particle():
    step = interaction("shower", 1, 0.6, 0.8)
    (children,), (deposits,) = step.children, step.deposits
    assert step.alive.tolist() == [True] and children.parent.tolist() == [0]
    assert deposits.value.tolist() == [[5.0, 1.0]] and deposits.particle.tolist() == [0]
    for state, sign in ((step.state, 1), (children.state, -1)):
        direction = torch.tensor([0.6 + 0.05 * sign, 0.8 + 0.05 * sign])
        direction = direction / direction.norm()
        expected = [3.0 + 0.02 * 0.6, 4.0 + 0.02 * 0.8, *direction.tolist(), 4.0]
        found = [state[name].item() for name in ("x", "y", "px", "py", "energy")]
        assert found == pytest.approx(expected, rel=1e-5)
        assert state["radius"].item() == pytest.approx(5.02, rel=1e-5)


def test_an_interaction_of_the_energy_loss_turns_the_particle_by_two_fair_signs():
    step = interaction("energy_loss", 4000, 0.0, 1.0)
    assert not step.children and step.alive.all() and step.state["energy"].unique().tolist() == [6.0]
    right = (step.state["px"] > 0).double()
    up = (step.state["py"] > math.cos(math.atan(0.05))).double()  # 1.05/√(1.05² + 0.05²), or 0.95/√(0.95² + 0.05²)
    for signs in (right, up, (right == up).double()):
        assert_mean(signs, 0.5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_event_does_not_depend_on_its_batch(variant):
    program, phi = BranchingToy(variant), DesignPoint.of(inner_radius=2.5)
    primaries, lineages = CentralSource().sample(40, stream("cpu", 2)), Lineages.of_events(1, 40, 9)
    with torch.no_grad():
        together = program.run(phi, primaries, Choices(lineages, Drawing())).hits
        for index in (0, 17, 39):
            alone = Lineages(torch.zeros(1, 1, dtype=torch.int64), lineages.key[:, [index]], torch.zeros(1, 1).long())
            hits = program.run(phi, primaries.select([index]), Choices(alone, Drawing())).hits
            # A sum in another order may differ in the last bits; a different path would differ everywhere.
            torch.testing.assert_close(hits[0, 0], together[0, index], rtol=1e-5, atol=0)


def test_the_first_events_are_those_of_a_smaller_batch():
    program, phi = BranchingToy(), DesignPoint.of(inner_radius=2.5)
    primaries = CentralSource().sample(20, stream("cpu", 2))
    with torch.no_grad():
        large = program(phi, primaries, stream("cpu", 8)).hits
        small = program(phi, primaries.select(slice(0, 5)), stream("cpu", 8)).hits
    torch.testing.assert_close(small, large[:, :5], rtol=1e-5, atol=0)


def test_too_many_particles_are_refused():
    program = BranchingToy(capacity=100)
    with pytest.raises(SimulationError, match="capacity of 100"), torch.no_grad():
        program(DesignPoint.of(inner_radius=2.5), CentralSource().sample(20), None)


def test_a_simulation_that_does_not_end_is_given_up():
    with pytest.raises(SimulationError, match="alive after 10 steps"), torch.no_grad():
        BranchingToy(max_steps=10)(DesignPoint.of(inner_radius=2.5), CentralSource().sample(2), None)


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigurationError, match=r"variant.*'tree'.*shower or energy_loss"):
        BranchingToy("tree")
    with pytest.raises(ConfigurationError, match=r"simulator.step_length.*0.0"):
        BranchingToy(step_length=0.0)
    with pytest.raises(ConfigurationError, match=r"primaries.energy.*-1"):
        CentralSource(-1.0)
    with pytest.raises(ConfigurationError, match=r"objective.target"):
        RadiusDeviation(0.0)


def test_primaries_and_hits_of_another_shape_are_refused():
    primaries = Events.of(torch.ones(1, 3, 1), torch.ones(1, 3, 1, 1))
    with pytest.raises(ShapeError, match="direction and energy"):
        BranchingToy()(DesignPoint.of(inner_radius=2.5), primaries, None)
    with pytest.raises(ShapeError, match="sum of the radii"):
        RadiusDeviation().each(primaries)
