"""A guard against samplers that lose the derivative of their parameters without a word."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mode_opt.errors import SimulationError

INSTEAD: Mapping[Callable[..., Any], str] = {
    torch.poisson: "choices.poisson(rate)",
    torch.bernoulli: "choices.bernoulli(probability)",
    Tensor.bernoulli: "choices.bernoulli(probability)",
    Tensor.bernoulli_: "choices.bernoulli(probability)",
    torch.binomial: "choices.binomial(count, probability)",
    torch.multinomial: "choices.categorical(probabilities)",
    Tensor.multinomial: "choices.categorical(probabilities)",
    torch.normal: "choices.gaussian(mean, deviation), or mean + deviation * torch.randn(...)",
}
"""What draws random numbers of parameters whose derivative it drops, and what to use in its place.

In torch 2.13 the outcomes of poisson, bernoulli and normal (of tensors) claim to carry a derivative, and it is zero;
that of multinomial is dropped; binomial fails, but on backward only.
"""


@final
class _Refusal(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        instead = INSTEAD.get(func)
        if instead is not None and torch.is_grad_enabled():
            carrying = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            if any(value.requires_grad for value in carrying):
                raise SimulationError(
                    f"a design parameter reached torch's {func.__name__}(), which drops its derivative: use {instead} "
                    "in a simulator written in choices (mode_opt.simulation.Program), or detach the parameter"
                )
        return func(*args, **kwargs)


def silent_sampling_refused() -> TorchFunctionMode:
    """A context in which a parameter with a derivative must not reach a sampler that loses it.

    ``with silent_sampling_refused(): simulator(phi, primaries)`` raises `SimulationError` where torch would return
    a gradient of zero, naming the function and the choice to use instead. Samplers of ``torch.distributions``
    without ``rsample`` are covered as far as they have not detached their parameters: their ``sample()`` runs
    without derivatives on purpose, and says so in its documentation.
    """
    return _Refusal()
