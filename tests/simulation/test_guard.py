import pytest
import torch
from toys import Counter, Gauge, gun

from mode_opt.design import DesignPoint
from mode_opt.errors import SimulationError
from mode_opt.simulation import silent_sampling_refused, stream


def parameter():
    return torch.tensor([0.3, 0.6], requires_grad=True)


SILENT = {
    "poisson": torch.poisson,
    "bernoulli": torch.bernoulli,
    "method bernoulli": lambda p: p.bernoulli(),
    "in place": lambda p: torch.zeros(2).bernoulli_(p),
    "binomial": lambda p: torch.binomial(torch.full((2,), 5.0), p),
    "multinomial": lambda p: torch.multinomial(p, 1),
    "method multinomial": lambda p: p.multinomial(1),
    "normal mean": lambda p: torch.normal(p, 1.0),
    "normal deviation": lambda p: torch.normal(0.0, p),
    "keyword": lambda p: torch.poisson(input=p),
}


@pytest.mark.parametrize("sample", SILENT.values(), ids=SILENT)
def test_a_parameter_with_a_derivative_is_refused(sample):
    with silent_sampling_refused(), pytest.raises(SimulationError, match=r"drops its derivative: use .*choices\."):
        sample(parameter())


@pytest.mark.parametrize("sample", SILENT.values(), ids=SILENT)
def test_torch_itself_loses_the_derivative(sample):
    """Why the guard exists: no gradient, a gradient of zero, or an error that comes too late."""
    p = parameter()
    drawn = sample(p)
    if not drawn.requires_grad:
        return
    try:
        (slope,) = torch.autograd.grad(drawn.sum(), p)
    except RuntimeError as error:
        assert "binomial is not implemented" in str(error)
    else:
        assert (slope == 0).all()


@pytest.mark.parametrize("sample", SILENT.values(), ids=SILENT)
def test_detached_parameters_and_no_grad_pass(sample):
    with silent_sampling_refused():
        sample(parameter().detach())
        with torch.no_grad():
            sample(parameter())


def test_what_has_a_derivative_passes():
    p = parameter()
    with silent_sampling_refused():
        value = (p * torch.rand(2) + torch.randn(2).exp() + torch.normal(0.0, 1.0, (2,))).sum()
        gamma = torch.distributions.Gamma(p, p).rsample().sum()
    assert torch.autograd.grad(value + gamma, p)[0].abs().sum() > 0


def test_simulators_that_are_right_pass_and_the_guard_ends_with_its_context():
    phi = DesignPoint.of(x=2.0)
    phi = DesignPoint(phi.values.requires_grad_(), phi.layout)
    with silent_sampling_refused():
        for simulator in (Gauge(), Counter()):
            simulator(phi, gun().sample(4, stream("cpu", 0)), stream("cpu", 0))
    torch.poisson(parameter())


def test_the_message_names_function_and_remedy():
    with (
        silent_sampling_refused(),
        pytest.raises(SimulationError, match=r"torch's poisson\(\).*choices\.poisson\(rate\)"),
    ):
        torch.poisson(parameter())
