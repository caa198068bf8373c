from dataclasses import replace

import pytest
import torch
from branching_programs import Point, Shower, Thinning, quiet, sampled, shaped
from programs import Formula, Offspring, mean, rejection, row
from statistical import assert_mean

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.gradients import MeasureValued, PrunedAlternative
from mode_opt.gradients.alternatives import explore, raced
from mode_opt.simulation import Chain, Counted, DifferentiableSimulator, Program, StochasticSimulator, stream


def two(phi, choices):
    p = row(phi, "p", choices)
    return 1 + choices.bernoulli(p) + 2 * choices.bernoulli(p**2)


class Doubled(DifferentiableSimulator):
    def forward(self, phi, primaries, generator=None):
        return Events(
            primaries.truth,
            2 * phi["p"][:, :, None, None] * primaries.hits,
            primaries.mask,
            primaries.weight,
            primaries.log_probability,
            primaries.controls,
        )


class Foreign(StochasticSimulator):
    def forward(self, phi, primaries, generator=None):
        return primaries


def histories(simulator, count=500, seed=3, **values):
    point = Point(**(values or {"p": 0.3}))
    return point, explore(simulator, point(), quiet(count), seed, raced)


def test_an_alternative_differs_in_one_choice_and_joins_with_weight_zero():
    point, found = histories(Formula(two))
    (layer,) = found.layers
    difference = layer.events.hits - found.drawn.hits
    assert set(difference.flatten().tolist()) == {-2.0, -1.0, 1.0, 2.0}
    assert layer.simulated == 500 and (layer.tangent == 0).all()
    joined = found.joined()
    assert joined.count == 1000 and joined.log_probability is None and joined.controls.shape == (1, 1000, 2)
    assert torch.equal(joined.weight, torch.cat([torch.ones(1, 500), torch.zeros(1, 500)], 1))
    # What the alternative gains its event loses.
    slopes = [torch.autograd.grad(joined.weight[0, at], point.phi.values, retain_graph=True)[0] for at in (7, 507)]
    assert slopes[0] == -slopes[1] != 0


def test_the_changed_choice_is_drawn_in_proportion_to_its_sensitivity():
    """|d p/dp| = 1 against |d p²/dp| = 0.6; what it is worth is divided by the probability."""
    point, found = histories(Formula(two), 4000)
    (layer,) = found.layers
    first = (layer.events.hits - found.drawn.hits).abs().flatten() == 1
    assert_mean(first.float(), 1 / 1.6)
    for mask in (first, ~first):
        (slope,) = torch.autograd.grad(layer.tangent[mask][0], point.phi.values, retain_graph=True)
        assert torch.allclose(slope.abs(), torch.tensor(1.6))


def test_controls_of_alternatives_are_theirs():
    _, found = histories(Formula(two))
    (layer,) = found.layers
    for events in (found.drawn, layer.events):
        coins = events.hits[0, :, 0, 0] - 1
        wanted = torch.stack([coins % 2 - 0.3, (coins / 2).floor() - 0.09], -1)
        assert torch.allclose(events.controls[0], wanted, atol=1e-6)
    assert not layer.events.controls.requires_grad and found.drawn.controls.requires_grad


def test_every_simulated_event_is_counted():
    for simulator, estimator, calls in (
        (Formula(two), PrunedAlternative(), 200),
        (Formula(two), MeasureValued(), 300),
        (Chain({"two": Formula(two), "doubled": Doubled()}), PrunedAlternative(), 200),
        (Offspring(4, True), PrunedAlternative(), 200),
        (Formula(lambda phi, choices: choices.normal()), PrunedAlternative(), 100),
    ):
        counted = Counted(simulator)
        estimator.loss(counted, Point(p=0.3), quiet(100), mean(lambda x: x), stream("cpu", 1))
        assert counted.calls == calls


def test_a_chain_of_two_programs_is_unbiased():
    """N of a Galton-Watson process, of which each is kept: E[K²] with K|N binomial, and both parameters."""
    chain = Chain({"shower": Offspring(3, False), "thinning": Thinning()})
    p, q, m = 0.3, 0.6, 1.3
    second = m**6 + (1 - p) * m**2 * (m**3 - 1)  # E[N²]
    slope = 6 * m**5 - m**2 * (m**3 - 1) + (1 - p) * (2 * m * (m**3 - 1) + 3 * m**4)
    exact = torch.tensor([q**2 * slope + q * (1 - q) * 3 * m**2, 2 * q * second + (1 - 2 * q) * m**3])
    for controls in (False, True):
        found = sampled(PrunedAlternative(controls), chain, Point(p=p, q=q), mean(torch.square), quiet(500), 40)
        assert_mean(found, exact)
        assert (found.std(0) / 40**0.5 < 0.05 * exact).all()


@pytest.mark.parametrize("estimator", [PrunedAlternative(), MeasureValued(), PrunedAlternative(controls=False)])
def test_derivatives_of_a_following_simulator_are_kept(estimator):
    """Hits 2 p x with E[x] = 1 + p + 2 p²."""
    chain, p = Chain({"two": Formula(two), "doubled": Doubled()}), 0.3
    found = sampled(estimator, chain, Point(p=p), mean(lambda x: x), quiet(300), 100)
    assert_mean(found[:, 0], 2 + 4 * p + 12 * p**2)


@pytest.mark.parametrize("parameters", [1, 20])
def test_all_parameters_share_the_alternatives(parameters):
    """Coin j has probability φ_j; E[(Σ x)²] = Σ p (1 − p) + (Σ p)²."""
    p = torch.linspace(0.1, 0.9, parameters)
    program = Formula(lambda phi, c: c.bernoulli(phi["p"].unsqueeze(1).expand(*c.shape, parameters)).sum(-1))
    exact = 1 - 2 * p + 2 * p.sum()
    for estimator in (PrunedAlternative(), MeasureValued(limit=20)):
        found = sampled(estimator, program, Point(p=p.tolist()), mean(torch.square), quiet(400), 40)
        error = found.std(0) / 40**0.5  # one coin has no noise
        assert ((found.mean(0) - exact).abs() < 4 * error + 1e-5).all() and (error < 0.05 * exact).all()


@pytest.mark.parametrize(
    ("estimator", "count"), [(PrunedAlternative(), 1), (PrunedAlternative(), 2), (MeasureValued(), 2)]
)
def test_few_events_are_unbiased(estimator, count):
    """An accept/reject loop: alternatives make more or fewer choices than what was drawn."""
    problem, batches = rejection(), 150 if isinstance(estimator, PrunedAlternative) else 50
    found = sampled(estimator, problem.simulator, Point(**problem.start), problem.score, quiet(count), batches)
    assert_mean(found, torch.tensor(problem.exact_gradient))


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("estimator", [PrunedAlternative(), MeasureValued()])
def test_impossible_outcomes_can_be_alternatives(estimator, p):
    """f(1) − f(0) is the derivative at p = 0 and 1 too."""
    program = Formula(lambda phi, choices: choices.bernoulli(row(phi, "p", choices)))
    found = sampled(estimator, program, Point(p=p), mean(lambda x: (x + 1) ** 2), quiet(50), 3)
    assert torch.allclose(found, torch.tensor(3.0))


@pytest.mark.parametrize("estimator", [PrunedAlternative(), MeasureValued()])
def test_classes_that_are_switched_off(estimator):
    def draw(phi, choices):
        p = row(phi, "p", choices)
        return choices.categorical(torch.stack([p, 0 * p, 1 - p], -1)) @ torch.tensor([1.0, 100.0, 3.0])

    found = sampled(estimator, Formula(draw), Point(p=0.3), mean(lambda x: x), quiet(200), 60)
    assert torch.allclose(found.mean(), torch.tensor(-2.0), atol=4 * float(found.std()) / 60**0.5 + 1e-4)


def test_rates_of_zero():
    program = Formula(lambda phi, choices: choices.poisson(row(phi, "rate", choices)))
    found = sampled(PrunedAlternative(), program, Point(rate=0.0), mean(lambda x: (x + 1) ** 2), quiet(50), 3)
    assert torch.allclose(found, torch.tensor(3.0))


def test_without_choices_the_pathwise_part_is_all():
    noise = Formula(lambda phi, choices: row(phi, "p", choices) * (1 + choices.normal()))
    found = sampled(PrunedAlternative(), noise, Point(p=0.3), mean(lambda x: x), quiet(100), 60)
    assert_mean(found[:, 0], 1.0)


class Tagged(Program):
    """A coin of its own adds 10 to the hits."""

    def run(self, phi, primaries, choices):
        coin = choices.bernoulli(phi["q"].expand(choices.shape))
        return replace(primaries, hits=primaries.hits.detach() + 10 * coin[..., None, None])


def test_controls_of_the_parts_of_a_chain_stay_apart():
    """However many rounds the loop of the first part takes in a run, those of the second follow in one column."""
    first = Formula(
        lambda phi, c: c.accepted(lambda some, i: some.uniform(), lambda x, i: 0 * x + phi["p"][0, 0].expand(x.shape))
    )
    widths = set()
    for seed in range(30):
        point = Point(p=0.6, q=0.3)
        found = explore(Chain({"loop": first, "tagged": Tagged()}), point(), quiet(3), seed, raced)
        widths.add(found.drawn.controls.shape[2])
        for events in (found.drawn, *(layer.events for layer in found.layers)):
            coin = (events.hits[0, :, 0, 0] > 5).float()
            assert torch.allclose(events.controls[0, :, -1], coin - 0.3)
        assert found.joined().count == 9
    assert len(widths) > 2


def test_the_seed_decides():
    first, again, other = (histories(Formula(two), 50, seed)[1].joined() for seed in (1, 1, 2))
    assert torch.equal(first.hits, again.hits) and not torch.equal(first.hits, other.hits)


def test_foreign_simulators_are_refused_by_name():
    chain = Chain({"two": Formula(two), "foreign": Foreign()})
    with pytest.raises(ConfigurationError, match="'Foreign', expected a simulator written in random choices"):
        histories(chain)


def test_continuous_programs_of_particles_are_refused():
    with pytest.raises(ConfigurationError, match="score_function for Shower, which is continuous"):
        explore(Shower(moving=True), Point(a=0.8)(), shaped(10), 1, raced)
