"""Two runs with the same random numbers: one hard, whose outcomes are noted, and its smooth twin."""

from typing import final

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.simulation.choices.chooser import Chooser, Site, dtype_of
from mode_opt.simulation.choices.laws import Law, RelaxableLaw, SmoothLaw
from mode_opt.simulation.choices.recording import Recording


@final
class Noise:
    """How the random numbers behind given outcomes move with the design.

    A number is found by its random word, so that a second run may make its choices in another order, or others.
    """

    def __init__(self) -> None:
        self._noted: dict[int | None, list[tuple[Tensor, Tensor]]] = {}
        self._sorted: dict[int | None, tuple[Tensor, Tensor]] = {}

    def note(self, word: Tensor, moving: Tensor, width: int | None) -> None:
        """Numbers ``S x ...``, with a last axis of ``width`` if it is given, that belong to words ``S x ...``.

        Those of a choice whose numbers cannot be followed are NaN.
        """
        shape = (-1,) if width is None else (-1, width)
        self._noted.setdefault(width, []).append((word.flatten(), moving.reshape(shape)))
        self._sorted.pop(width, None)

    def tangent(self, word: Tensor, width: int | None) -> tuple[Tensor, Tensor] | None:
        """Number minus its value, zero but for its derivative, and which words were noted; None if none was."""
        if width not in self._noted:
            return None
        if width not in self._sorted:
            words, order = torch.cat([words for words, _ in self._noted[width]]).sort()
            self._sorted[width] = words, torch.cat([moving for _, moving in self._noted[width]])[order]
        words, moving = self._sorted[width]
        if words.numel() == 0:
            return None
        place = torch.searchsorted(words, word.flatten()).clamp_max(words.numel() - 1)
        found = words[place] == word.flatten()
        tangent = (moving - moving.detach())[place]
        known = found if width is None else found.unsqueeze(-1)
        tangent = torch.where(known, tangent, torch.zeros_like(tangent))
        return tangent.reshape(word.shape if width is None else (*word.shape, width)), found.reshape(word.shape)


@final
class Noting(Chooser):
    """Draws hard outcomes, records their log-probability, and notes the random numbers behind them.

    Coins and classes are drawn so that the relaxation for the same numbers tends to them.

    Args:
        recording: takes the log-probabilities.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording, self.noise = recording, Noise()

    def choose(self, law: Law, site: Site) -> Tensor:
        dtype = dtype_of(law)
        if not law.depends:
            return law.draw(site.uniform(dtype))
        width = law.width if isinstance(law, RelaxableLaw) else None
        uniform = site.uniform(dtype, width=width)
        if isinstance(law, RelaxableLaw):
            outcome = law.hardened(uniform)
            moving = law.given(outcome, uniform)
        else:
            outcome = law.draw(uniform)
            moving = law.given(uniform) if isinstance(law, SmoothLaw) else torch.full_like(uniform, torch.nan)
        self.noise.note(site.word, moving, width)
        event = site.spread(site.lineages.event)
        self.recording.add(event, law.log_probability(outcome), law.encode(outcome) - law.expected)
        return outcome


@final
class Twinned(Chooser):
    """Relaxed coins and classes, and real numbers as functions of their noise, for the numbers of another run.

    What is returned has the derivative that it owes to the noise, as given the outcomes of the other run.

    Args:
        noise: of the other run.
        temperature: of the relaxation.

    Attributes:
        shared: whether any number of the other run was used.
    """

    def __init__(self, noise: Noise, temperature: float) -> None:
        self.noise, self.temperature, self.shared = noise, temperature, False

    def choose(self, law: Law, site: Site) -> Tensor:
        width = law.width if isinstance(law, RelaxableLaw) else None
        known = self.noise.tangent(site.word, width)
        shared = known is not None and bool(known[1].any())
        if not law.depends and not shared:
            return law.draw(site.uniform(dtype_of(law)))
        self.shared = self.shared or shared
        uniform = site.uniform(dtype_of(law), width=width)
        if known is not None:
            uniform = uniform + known[0]
        if not bool(uniform.isnan().any()):
            if isinstance(law, RelaxableLaw):
                return law.relaxed(uniform, self.temperature)
            if isinstance(law, SmoothLaw):
                return law.transform(uniform)
        raise ConfigurationError(
            "gradient.twin",
            type(law).__name__,
            "a twin that draws coins, classes and real numbers where the simulator does, and no counts: they have no "
            "relaxation (give a twin of its own, or use score_function)",
        )
