"""The parameters that a tolerance can be given for, in units of their half ranges."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.experiment.directions import parameter_names
from mode_opt.units import Unit


@final
class Space:
    r"""Displacements of the continuous free parameters around one design, :math:`z = \phi/s` with half ranges s.

    Integers and categories are held as they would be built, and parameters that do not exist in this design are left
    out. Half range: of the bounds, else the size of the start value.

    Args:
        design: names, bounds and units.
        phi: one design, of which the parameters count that follow from no others; None: the present one.

    Attributes:
        names: of the ``d`` parameters, as in ``history.csv``.
        units: declared.
        scale: ``d`` half ranges, in field units.
        centre, low, high: ``d``, design and bounds in half ranges; infinite where unbounded.

    Raises:
        ConfigurationError: if no continuous parameter is free.
    """

    def __init__(self, design: Design, phi: DesignPoint | None = None) -> None:
        self.design, system = design, design.system
        with torch.no_grad():
            raw = system.raw_of((design() if phi is None else phi).detach())
            self._raw = {n: v.double().cpu() for n, v in (system.concrete(raw) if design.discrete else raw).items()}
            self._columns = dict(system.numeric)
            kept = self._kept()
        if not len(kept):
            names = sorted(design.psi_columns)
            raise ConfigurationError("design", names, "free numeric parameters that are no integers")
        self._numeric = torch.cat([self._raw[name] for name in self._columns], 1)[0]
        self._places = kept
        places = [place for name in self._columns for place in self._range(design.layout.columns[name])]
        chosen = torch.tensor(places)[kept]
        low, high = (torch.from_numpy(side)[chosen] for side in design.declaration.ranges())
        known = parameter_names(design)
        units = [design.declaration.unit(n) for n, c in self._columns.items() for _ in self._range(c)]
        self.names = tuple(known[int(place)] for place in kept)
        self.units: tuple[Unit, ...] = tuple(units[int(place)] for place in kept)
        self.scale = torch.tensor(design.layout.scale, dtype=torch.float64)[chosen]
        self.centre, self.low, self.high = self._numeric[kept] / self.scale, low / self.scale, high / self.scale

    @staticmethod
    def _range(columns: slice) -> range:
        return range(columns.start, columns.stop)

    def _kept(self) -> Tensor:
        """Indices among the free numeric columns: no integers, and nothing that does not exist."""
        system, kept = self.design.system, []
        for name, columns in self._columns.items():
            there = torch.ones(columns.stop - columns.start, dtype=torch.bool)
            if name in system.declaration.conditions:
                there = system.existence(name, self._raw, self.design.discrete)[0] > 0.5
            if not system.declaration.blocks[name].integer:
                kept += [place for place, exists in zip(self._range(columns), there.tolist(), strict=True) if exists]
        return torch.tensor(kept, dtype=torch.long)

    @property
    def dimension(self) -> int:
        """``d``."""
        return len(self.names)

    def point(self, z: Tensor, like: Tensor | None = None) -> DesignPoint:
        """The designs at ``b x d``, within their bounds; derivatives pass to z.

        Args:
            z: in half ranges.
            like: its dtype and device are those of the designs; None: those of ψ.
        """
        like = self.design.psi if like is None else like
        numeric = self._numeric.to(like).expand(len(z), -1)
        moved = (z * self.scale.to(z)).to(like)
        numeric = numeric.index_copy(1, self._places.to(like.device), moved)
        numeric = numeric + (self.design.system.box.clamp(numeric) - numeric).detach()  # what rounding added
        raw = {name: values.to(like).expand(len(z), -1) for name, values in self._raw.items()}
        raw |= {name: numeric[:, columns] for name, columns in self._columns.items()}
        hard = self.design.discrete
        layout = self.design.system.built_layout if hard else self.design.layout
        return DesignPoint(self.design.system.assemble(raw, hard), layout)
