"""A detector: everything about an apparatus that an experiment needs to know."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.geometry import Volume
from mode_opt.objectives import Objective
from mode_opt.reconstruction import Reconstruction
from mode_opt.simulation import PrimarySource, Simulator

ReconstructionFactory = Callable[[Events, DesignPoint], Reconstruction]
"""Builds a reconstruction whose sizes fit the given events and designs, e.g. ``CellNetwork.fitting``."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction done."""

Goal = Literal["truth", "objective"]
"""What a reconstruction is trained for: to know the truth, or whatever serves the objective."""

SimulatorFactory = Callable[[Progress], Simulator]
"""Builds a simulator when it is chosen, reporting its progress: a surrogate is trained only if it is used."""

Shape = Mapping[str, Any]
"""``{"kind": "box", "x": [x0, x1], "y": [y0, y1], "material": ..., "label": ...}`` in mm, x along the beam."""


@dataclass(frozen=True)
class Detector:
    """A design, the simulators that know it, its primaries and sensible defaults for the rest.

    Attributes:
        name: as in ``detector=NAME``.
        design: the parameters, with bounds and constraints.
        simulators: by name; a simulator, or a function that builds it. The first is the default.
        primaries: the particles that enter.
        reconstruction: a reconstruction, or a function of events and designs that builds one that fits them.
        objective: what the detector is for.
        hit_names: name of each of the ``f`` features of a hit.
        drawing: shapes of one design (``b = 1``), or None.
        volumes: the world of one design (``b = 1``) with all that is in it, mm, beam along +z, or None; what
            ``mode-opt geometry`` writes for Geant4 and for engineers.
        files: data that it rests on; their checksums go into the provenance of a run.
        description: one line for ``mode-opt detectors``.
        exact_gradient: for problems that carry their own truth: a design to dJ/dφ of the first simulator with the
            objective and reconstruction given here, ``d`` numbers for the free parameters in the order of ψ, in
            field units; or None.
        reconstruction_goal: what the reconstruction is trained for, see `Experiment`.
    """

    name: str
    design: Design
    simulators: Mapping[str, Simulator | SimulatorFactory]
    primaries: PrimarySource
    reconstruction: Reconstruction | ReconstructionFactory
    objective: Objective
    hit_names: Sequence[str] = ("deposit",)
    drawing: Callable[[DesignPoint], Sequence[Shape]] | None = None
    description: str = ""
    files: Sequence[Path] = ()
    exact_gradient: Callable[[Design], Tensor] | None = None
    volumes: Callable[[DesignPoint], Volume] | None = None
    reconstruction_goal: Goal = "truth"

    def __post_init__(self) -> None:
        if not self.simulators:
            raise ConfigurationError("detector.simulators", {}, "at least one simulator")

    def simulator(self, name: str | None = None, progress: Progress = lambda what, fraction: None) -> Simulator:
        """The simulator of that name (None: the first), built now if it is a function.

        Raises:
            ConfigurationError: if there is none of that name.
        """
        chosen = next(iter(self.simulators)) if name is None else name
        if chosen not in self.simulators:
            raise ConfigurationError("simulator", name, f"one of {', '.join(self.simulators)} of {self.name}")
        simulator = self.simulators[chosen]
        return simulator if isinstance(simulator, Simulator) else simulator(progress)
