"""Random choices: a small vocabulary in which a simulator is written and of which estimators take hold."""

from mode_opt.simulation.choices.choices import Choices, fork
from mode_opt.simulation.choices.chooser import Chooser, Drawing, Lineages, Site, dtype_of
from mode_opt.simulation.choices.coins import Bernoulli, Categorical
from mode_opt.simulation.choices.counters import hashed, uniform
from mode_opt.simulation.choices.counts import Binomial, Geometric, Poisson
from mode_opt.simulation.choices.laws import Alternatives, Law, RelaxableLaw, SmoothLaw
from mode_opt.simulation.choices.lengths import Exponential, Gaussian
from mode_opt.simulation.choices.recording import Recording
from mode_opt.simulation.choices.relaxing import Relaxing

__all__ = [
    "Alternatives",
    "Bernoulli",
    "Binomial",
    "Categorical",
    "Choices",
    "Chooser",
    "Drawing",
    "Exponential",
    "Gaussian",
    "Geometric",
    "Law",
    "Lineages",
    "Poisson",
    "Recording",
    "RelaxableLaw",
    "Relaxing",
    "Site",
    "SmoothLaw",
    "dtype_of",
    "fork",
    "hashed",
    "uniform",
]
