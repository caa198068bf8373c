"""Derivatives of the choices of one step: the short way through the parameter is the long way through the step."""

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.simulation.choices import Lineages, Site
from mode_opt.simulation.choices.coins import Bernoulli, Categorical
from mode_opt.simulation.choices.counts import Binomial, Geometric, Poisson
from mode_opt.simulation.choices.lengths import Exponential, Gaussian
from mode_opt.simulation.stepping import LocalRows

PARTICLES = 6
LAWS = {
    "coin": lambda x: Bernoulli(x),
    "count": lambda x: Poisson(3 * x),
    "trials": lambda x: Binomial(torch.full_like(x.detach(), 4.0), x),
    "failures": lambda x: Geometric(x),
    "path": lambda x: Exponential(2 * x),
    "classes": lambda x: Categorical(torch.stack([x, 1 - x, x**2], -1)),
    "measurement": lambda x: Gaussian(2 * x, 1 + x),
}


def rows_of_particles():
    """Rows of two parameters a and b, one for each particle, and a number in (0, 1) that depends on both."""
    local = LocalRows()
    phi = local.renew(DesignPoint.of(a=0.3, b=0.6), torch.zeros(PARTICLES, dtype=torch.int64))
    share = torch.linspace(0.0, 1.0, PARTICLES)
    return local, phi["a"][:, 0] * share + phi["b"][:, 0] ** 2 * (1 - share)


def site_of(index, *extra):
    """A site of some of the particles."""
    key = torch.tensor(index) + 11
    lineages = Lineages(torch.zeros_like(key), key, torch.zeros_like(key))
    word = torch.arange(len(index) * int(torch.tensor(extra).prod())).reshape(len(index), *extra) if extra else key
    return Site(lineages, word)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("index", [list(range(PARTICLES)), [4, 1, 2]], ids=["all", "some"])
def test_slopes_of_a_call_are_those_of_the_step(name, index):
    local, x = rows_of_particles()
    law = LAWS[name](x[torch.tensor(index)])
    outcome = law.draw(torch.linspace(0.05, 0.95, len(index)))
    slopes = local.slopes(law, site_of(index), torch.tensor(index))
    values = [law.log_probability(outcome), law.expected, *law.alternatives(outcome, torch.rand(len(index))).tangent]
    for value in values:
        assert torch.allclose(slopes.of(value), local.slope(value), rtol=1e-5, atol=1e-6)
        assert bool(slopes.of(value).any())


def test_several_choices_of_a_particle_are_summed():
    local, x = rows_of_particles()
    law = Poisson(x[:, None] * torch.tensor([1.0, 2.0, 5.0]))
    index = list(range(PARTICLES))
    slopes = local.slopes(law, site_of(index, 3), torch.arange(PARTICLES).repeat_interleave(3))
    outcome = torch.full((PARTICLES, 3), 2.0)
    for value in (law.log_probability(outcome), law.expected):
        assert torch.allclose(slopes.of(value), local.slope(value))


def test_a_rate_of_zero_keeps_its_derivative():
    """``d ln P(0)/dλ = −1`` at λ = 0: a particle that stops, with a rate proportional to a path of length 0."""
    local = LocalRows()
    phi = local.renew(DesignPoint.of(a=0.5), torch.zeros(3, dtype=torch.int64))
    law = Poisson(phi["a"][:, 0] - 0.5)
    slopes = local.slopes(law, site_of([0, 1, 2]), torch.arange(3))
    assert slopes.of(law.log_probability(torch.zeros(3))).tolist() == [[-1.0]] * 3


def test_what_does_not_depend_on_the_parameter_has_no_slope():
    local, x = rows_of_particles()
    law = Bernoulli(x)
    slopes = local.slopes(law, site_of(list(range(PARTICLES))), torch.arange(PARTICLES))
    for value in (torch.ones(PARTICLES), torch.ones(PARTICLES, requires_grad=True) * 2):
        assert slopes.of(value).shape == (PARTICLES, 2) and not bool(slopes.of(value).any())
