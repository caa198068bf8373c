"""Simulators that are somebody else's program, run as jobs of a campaign."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from mode_opt.campaigns import Campaign, Job, Outcome, Status, Store, Work, seed_of
from mode_opt.campaigns.job import Value
from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, DataError, SimulationError
from mode_opt.events import Events
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.simulator import BlackBoxSimulator, Simulator
from mode_opt.simulation.tolerance import tolerated

DEFAULT_STORE = Path("runs") / "store"
"""Where results are kept if nobody says otherwise."""


@final
class ExternalSimulator(BlackBoxSimulator):
    """Events of a program that knows nothing of mode_opt.

    Each design is one job, or several: of at most ``events_per_job`` events each, or, for a program that is told one
    primary for a whole run (`Work.uniform_primaries`), one for each different primary. Seeds follow from the generator,
    the index of the design and that of the job; equal jobs are simulated once and read from the store afterwards.

    Lost jobs are no end: as long as a share of a design's events came back, those that did not have weight zero. A
    design with fewer fails: inside `attempt` it alone, otherwise with a `SimulationError`.

    Args:
        work: the program, or a function that describes it (``_partial_: true``) when it is first run: one that is not
            here yet then does no harm to those who use another simulator.
        cells: ``h``, hits of an event; events with fewer are padded, with more refused.
        primaries: names of the features of a primary, in their order, as the program's description uses them.
        events_per_job: at most; None: all of a design.
        share: of a design's events that must come back.
        campaign: where jobs run and results are kept; None: on this machine, in ``runs/store``.

    Raises:
        ConfigurationError: for numbers out of range.
    """

    def __init__(
        self,
        work: Work | Callable[[], Work],
        cells: int,
        primaries: Sequence[str] = ("energy",),
        events_per_job: int | None = None,
        share: float = 0.5,
        campaign: Campaign | None = None,
    ) -> None:
        super().__init__()
        if cells < 1:
            raise ConfigurationError("simulator.cells", cells, "at least 1 hit an event")
        if events_per_job is not None and events_per_job < 1:
            raise ConfigurationError("simulator.events_per_job", events_per_job, "at least 1, or null")
        if not 0 < share <= 1:
            raise ConfigurationError("simulator.share", share, "a fraction above 0, at most 1")
        self._work, self.cells, self.names = work, int(cells), tuple(primaries)
        self.events_per_job, self.share, self._campaign = events_per_job, share, campaign

    def conducted_by(self, campaign: Campaign) -> None:
        """Run jobs in this campaign, unless one was given when this was built."""
        self._campaign = self._campaign or campaign

    @property
    def work(self) -> Work:
        """The program.

        Raises:
            ConfigurationError: if it is described only now, and cannot be.
        """
        self._work = self._work if isinstance(self._work, Work) else self._work()
        return self._work

    @property
    def campaign(self) -> Campaign:
        """Where jobs run."""
        self._campaign = self._campaign or Campaign(Store(DEFAULT_STORE))
        return self._campaign

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        primaries = primaries.expand(phi.designs)
        pieces = list(self._pieces(phi, primaries, draw_seed(generator)))
        outcomes = self.campaign.run(self.work, [piece.job for piece in pieces])
        rows: list[list[_Read]] = [[] for _ in range(phi.designs)]
        for piece in pieces:
            rows[piece.design].append(self._read(piece, outcomes[piece.job.key]))
        return self._assembled(rows, primaries, phi.values)

    def _pieces(self, phi: DesignPoint, primaries: Events, base: int) -> Iterator["_Piece"]:
        """The jobs of all designs, and which events of which design each simulates."""
        if primaries.hits.shape[3] != len(self.names):
            found = f"{primaries.hits.shape[3]} names, one for each feature of the primaries"
            raise ConfigurationError("simulator.primaries", list(self.names), found)
        hits = primaries.hits.detach().double().cpu().numpy()
        digest = self.work.digest
        for k in range(phi.designs):
            values = design_values(phi, k)
            for number, rows in enumerate(self._groups(hits[k])):
                table = {name: _column(hits[k, rows, :, f]) for f, name in enumerate(self.names)}
                job = Job(digest, values, len(rows), seed_of(base, k, number), table)
                yield _Piece(job, k, rows)

    def _groups(self, hits: np.ndarray) -> Iterator[np.ndarray]:
        """Indices of the events of each job of one design."""
        together = [np.arange(len(hits))]
        if self.work.uniform_primaries:
            _, which = np.unique(hits.reshape(len(hits), -1), axis=0, return_inverse=True)
            together = [np.flatnonzero(which == group) for group in range(which.max() + 1)]
        for rows in together:
            count = 1 if self.events_per_job is None else -(-len(rows) // self.events_per_job)
            yield from np.array_split(rows, count)

    def _read(self, piece: "_Piece", outcome: Outcome) -> "_Read":
        """The events of a job, padded to ``cells``; without events if it failed."""
        if outcome.status is not Status.DONE:
            words = f"{outcome.failure}: {outcome.message}" if outcome.failure else outcome.message
            return _Read(piece.rows, None, words)
        try:
            arrays = self.campaign.store.read(outcome.key)
        except DataError as error:  # damaged on the disk since it was written: it is run again next time
            self.campaign.store.forget([outcome.key])
            return _Read(piece.rows, None, str(error))
        h = arrays["hits"].shape[1]
        if h > self.cells:
            real = int(arrays["mask"].sum(1).max())
            if real > self.cells or arrays["mask"][:, self.cells :].any():
                raise ConfigurationError("simulator.cells", self.cells, f"at least {h}: an event has that many hits")
        return _Read(piece.rows, {n: _fitted(arrays[n], self.cells) for n in ("hits", "mask", "weight")}, "")

    def _assembled(self, rows: list[list["_Read"]], primaries: Events, like: Tensor) -> Events:
        """Events of all designs; what is missing is padding of weight zero, or NaN where a whole design failed."""
        count, known = primaries.count, [read.arrays for row in rows for read in row if read.arrays is not None]
        if not known and tolerated() is None:
            raise SimulationError(self._words([read for row in rows for read in row]))
        features = known[0]["hits"].shape[2] if known else 1
        hits = np.zeros((len(rows), count, self.cells, features), np.float32)
        mask = np.zeros(hits.shape[:3], np.bool_)
        weight = np.zeros(hits.shape[:2], np.float32)
        for k, row in enumerate(rows):
            for read in row:
                if read.arrays is not None:
                    where = (k, read.rows)
                    hits[where], mask[where] = read.arrays["hits"], read.arrays["mask"]
                    weight[where] = read.arrays["weight"]
            if sum(len(read.rows) for read in row if read.arrays is not None) < self.share * count:
                weight[k] = self._missing([read for read in row if read.arrays is None])
        tensors = [torch.from_numpy(array).to(like.device) for array in (hits, mask, weight)]
        events = Events.of(primaries.truth, tensors[0].to(like.dtype), tensors[1], tensors[2].to(like.dtype))
        return events.reweighted(primaries.weight)

    def _missing(self, lost: list["_Read"]) -> float:
        """The weight of events of a design that failed: NaN marks it for `attempt`; nobody else goes on with it."""
        words, reasons = self._words(lost), tolerated()
        if reasons is None:
            raise SimulationError(words)
        reasons.append(words)
        return float("nan")

    def _words(self, lost: list["_Read"]) -> str:
        kinds = dict.fromkeys(read.words for read in lost)
        return f"{len(lost)} jobs of a design failed ({'; '.join(list(kinds)[:3])})"


@dataclass(frozen=True)
class _Piece:
    """A job, and which events of which design it simulates."""

    job: Job
    design: int
    rows: np.ndarray


@dataclass(frozen=True)
class _Read:
    """What came back for some events of a design."""

    rows: np.ndarray
    arrays: dict[str, np.ndarray] | None
    words: str


def external(simulator: Simulator) -> list[ExternalSimulator]:
    """The external programs in a simulator, also behind `Opaque` and `Counted`."""
    return [module for module in simulator.modules() if isinstance(module, ExternalSimulator)]


def conducted(simulator: Simulator, campaign: Campaign) -> None:
    """Let all external programs in a simulator run in this campaign, unless they have one."""
    for part in external(simulator):
        part.conducted_by(campaign)


def design_values(phi: DesignPoint, index: int) -> dict[str, Value]:
    """Parameters and derived quantities of one design as plain numbers in field units.

    An array is a list; of a categorical parameter the name of the most probable option is given.
    """
    values: dict[str, Value] = {}
    for name in phi.layout.names:
        row: list[float] = phi[name][index].detach().double().tolist()
        options: Any = phi.layout.options.get(name)
        if options is not None:
            values[name] = options[int(np.argmax(row))]
        else:
            values[name] = row[0] if len(row) == 1 else row
    return values


def _column(values: np.ndarray) -> np.ndarray:
    """``n x h`` values of a feature: ``n`` if there is one particle an event."""
    return np.ascontiguousarray(values[:, 0] if values.shape[1] == 1 else values)


def _fitted(array: np.ndarray, cells: int) -> np.ndarray:
    """The second axis padded with zeros, or cut, to ``cells``."""
    if array.ndim == 1:
        return array
    missing = max(0, cells - array.shape[1])
    widths = [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array[:, :cells], widths)
