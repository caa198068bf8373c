"""An example of every concrete class of every noun, for the contract tests.

A new class without an entry here fails `tests/contract`.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import partial
from typing import Any

import external_box
import torch

import mode_opt
import mode_opt.detectors
from mode_opt.design import Design, DesignPoint
from mode_opt.detectors import benchmarks
from mode_opt.detectors.branching_toy import BranchingToy, CentralSource, RadiusDeviation, branching_toy
from mode_opt.detectors.cosmic_telescope import Apparatus, StripTelescope, TelescopeTwin, TrackFit, cosmic_telescope
from mode_opt.detectors.inferno import MixtureSource
from mode_opt.detectors.sampling_calorimeter import sampling_calorimeter
from mode_opt.events import Events
from mode_opt.gradients import (
    Automatic,
    BoundaryTerms,
    ControlVariate,
    Descent,
    DesignSearch,
    EvolutionStrategies,
    FiniteDifferences,
    GradientEstimator,
    LineageCredit,
    LocalRegression,
    LocalSurrogate,
    MeasureValued,
    Pathwise,
    PrunedAlternative,
    Relaxed,
    Sampling,
    ScoreFunction,
    SimultaneousPerturbation,
    StraightThrough,
)
from mode_opt.objectives import (
    AreaUnderCurve,
    Constrained,
    ContrastiveInformation,
    CramerRao,
    CrossEntropy,
    DesignCost,
    DiscoverySignificance,
    Dose,
    ExpectedCLs,
    ExpectedUncertainty,
    ExpectedUpperLimit,
    InformationGain,
    Interval,
    Lexicographic,
    Miscalibration,
    MuonShield,
    Nominal,
    Objective,
    PosteriorBound,
    Rate,
    Resolution,
    Robust,
    Separation,
    SignalLoss,
    Significance,
    Sinkhorn,
    WeightedSum,
)
from mode_opt.objectives.statistics import Templates, Variation
from mode_opt.reconstruction import (
    CellNetwork,
    Classifier,
    Critic,
    PriorBelief,
    Reconstruction,
    SetNetwork,
    SummaryNetwork,
    Verdict,
)
from mode_opt.search import (
    BayesianOptimisation,
    CovarianceAdaptation,
    HypervolumeSearch,
    RandomSearch,
    StartPoint,
    TrustRegionBayesianOptimisation,
)
from mode_opt.simulation import (
    Acceptance,
    Chain,
    Counted,
    Disc,
    ExternalSimulator,
    Opaque,
    ParticleGun,
    PointSource,
    PrimarySource,
    Recorded,
    Simulator,
)
from mode_opt.simulation.digitisation import Digitisation, StochasticDigitisation
from mode_opt.surrogates import gaussian


def concrete(base: type) -> set[type]:
    """Every concrete subclass that mode_opt and its detectors define."""
    for package in (mode_opt, mode_opt.detectors):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found: set[type] = set()
    pending = [base]
    while pending:
        for child in pending.pop().__subclasses__():
            pending.append(child)
            if child.__module__.startswith("mode_opt") and not inspect.isabstract(child):
                found.add(child)
    return found


def calorimeter_point(designs: int) -> DesignPoint:
    """Designs of the calorimeter, with the layout (bounds, derived quantities) of its own design."""
    design = sampling_calorimeter().design
    generator = torch.Generator().manual_seed(designs)
    return design.nearby(designs, 0.2, generator).detach()


def cells(count: int = 6, seed: int = 0) -> Events:
    """Primaries whose hits are deposits in ten cells."""
    generator = torch.Generator().manual_seed(seed)
    truth = 100 + 900 * torch.rand(1, count, 1, generator=generator)
    return Events.of(truth, 5 * torch.rand(1, count, 10, 1, generator=generator))


def electrons(count: int = 6) -> Events:
    return ParticleGun((500.0, 5000.0)).sample(count, torch.Generator().manual_seed(1))


Case = tuple[Callable[[], Any], Callable[[int], DesignPoint], Callable[[int], Events]]


def ring_point(designs: int) -> DesignPoint:
    """Inner radii of the branching toy."""
    generator = torch.Generator().manual_seed(designs)
    return branching_toy().design.nearby(designs, 0.2, generator).detach()


def central(count: int = 6) -> Events:
    return CentralSource(2.0).sample(count, torch.Generator().manual_seed(1))


def share_point(designs: int) -> DesignPoint:
    """Shares of the channels of the INFERNO instrument."""
    return DesignPoint.of(share=torch.linspace(0.3, 0.7, designs)[:, None])


def mixture(count: int = 6) -> Events:
    return MixtureSource().sample(count, torch.Generator().manual_seed(1))


def benchmark_case(name: str, part: str | None = None, simulator: str | None = None) -> Case:
    """Simulator (or a part of that chain), designs around the start and primaries of a benchmark."""
    detector = benchmarks.problem(name).detector

    def build() -> Simulator:
        whole = benchmarks.problem(name).detector.simulator(simulator)
        return whole if part is None else whole.parts[part]

    def points(designs: int) -> DesignPoint:
        return detector.design.nearby(designs, 0.2, torch.Generator().manual_seed(designs)).detach()

    def primaries(count: int = 6) -> Events:
        return detector.primaries.sample(count, torch.Generator().manual_seed(1))

    return build, points, primaries


def deposits(kind: type, count: int) -> Events:
    """Events that an objective of this kind can read."""
    events = cells(count)
    if issubclass(kind, benchmarks.ResponseObjective):  # the response of one cell
        return Events.of(events.truth, events.hits[:, :, :1])
    if kind is RadiusDeviation:  # sum and number of the points of one cell
        hits = torch.stack([events.hits[:, :, :1, 0], torch.full_like(events.hits[:, :, :1, 0], 2.0)], 3)
        return Events.of(events.truth, hits)
    return events


def plain_point(designs: int) -> DesignPoint:
    gain, cut = torch.linspace(0.8, 1.2, designs), torch.linspace(1.0, 1.5, designs)
    return DesignPoint.of(gain=gain[:, None], cut=cut[:, None])


def muon_point(designs: int) -> DesignPoint:
    """Momentum scales and resolutions."""
    scale, resolution = torch.linspace(0.99, 1.01, designs), torch.linspace(0.02, 0.03, designs)
    return DesignPoint.of(scale=scale[:, None], resolution=resolution[:, None])


def muon_pairs(count: int = 6) -> Events:
    from mode_opt.detectors.z_resolution import LineShape, MuonPairs

    return MuonPairs(LineShape(), (85e3, 95e3)).sample(count, torch.Generator().manual_seed(1))


def telescope_point(designs: int) -> DesignPoint:
    """Designs of the cosmic telescope around the recorded one."""
    return cosmic_telescope().design.nearby(designs, 0.2, torch.Generator().manual_seed(designs)).detach()


def muons(count: int = 6) -> Events:
    return cosmic_telescope().primaries.sample(count, torch.Generator().manual_seed(1))


def reconstructible(kind: type, designs: int) -> tuple[DesignPoint, Events]:
    """Designs, and events of them that a reconstruction of this kind can read."""
    if kind is TrackFit:
        phi = telescope_point(designs)
        return phi, TelescopeTwin()(phi, muons(), torch.Generator().manual_seed(2))
    return plain_point(designs), cells().expand(designs)


def local_surrogate(name: str) -> Any:
    """A surrogate of cells whose deposits follow the gain, fitted a little."""
    from mode_opt import surrogates

    phi, primaries = plain_point(8), cells(10).expand(8)
    events = Events.of(primaries.truth, phi["gain"][:, :, None, None] * primaries.hits[:, :, :2] + phi["cut"][0, 0])
    if name == "refined":
        plain = partial(surrogates.gaussian, training={"steps": 10})
        surrogate = surrogates.refined(phi, primaries, events, plain(phi, primaries, events), plain, ratio=2)
    elif name == "ensemble":
        surrogate = surrogates.ensemble(phi, primaries, events, partial(surrogates.mixture, training={"steps": 10}), 2)
    else:
        surrogate = getattr(surrogates, name)(phi, primaries, events, training={"steps": 10})
    surrogate.fit(phi, primaries, events)
    return surrogate


def simulator_cases() -> dict[type, Case]:
    """Simulator, designs and primaries of every concrete `Simulator`."""
    from mode_opt.detectors.branching_shower import BranchingShower
    from mode_opt.detectors.event_selection import Cut, HardSelection, NoisySelection
    from mode_opt.detectors.inferno import Instrument
    from mode_opt.detectors.sampling_calorimeter.parametric import ParametricShower
    from mode_opt.detectors.sampling_calorimeter.surrogate import shower_model
    from mode_opt.detectors.z_resolution import CutSmearing, WindowedSmearing
    from mode_opt.surrogates import DensitySurrogate, Ensemble, NeighbourhoodSurrogate, QuadraticSurrogate, Refined

    return {
        WindowedSmearing: (lambda: WindowedSmearing((80e3, 100e3)), muon_point, muon_pairs),
        CutSmearing: (lambda: CutSmearing((80e3, 100e3)), muon_point, muon_pairs),
        ParametricShower: (ParametricShower, calorimeter_point, electrons),
        DensitySurrogate: (shower_model, calorimeter_point, electrons),
        Ensemble: (partial(local_surrogate, "ensemble"), plain_point, cells),
        NeighbourhoodSurrogate: (partial(local_surrogate, "gaussian"), plain_point, cells),
        QuadraticSurrogate: (partial(local_surrogate, "quadratic"), plain_point, cells),
        Refined: (partial(local_surrogate, "refined"), plain_point, cells),
        Digitisation: (
            lambda: Digitisation(photoelectrons_per_MeV=50.0, noise=0.1, gain="gain", threshold="cut"),
            plain_point,
            cells,
        ),
        StochasticDigitisation: (
            lambda: StochasticDigitisation(photoelectrons_per_MeV="gain", noise=0.1, threshold="cut"),
            plain_point,
            cells,
        ),
        Chain: (lambda: sampling_calorimeter().simulator("parametric"), calorimeter_point, electrons),
        NoisySelection: (lambda: NoisySelection({"cut": Cut("above", 1.0)}), plain_point, cells),
        HardSelection: (lambda: HardSelection({"cut": Cut("above")}), plain_point, cells),
        Acceptance: (lambda: Acceptance(PointSource("gain"), Disc("cut")), plain_point, cells),
        Instrument: (Instrument, share_point, mixture),
        BranchingShower: (
            lambda: BranchingShower(layers=1),
            calorimeter_point,
            lambda n: ParticleGun((3.0, 6.0)).sample(n, torch.Generator().manual_seed(1)),
        ),
        benchmarks.LatentResponse: benchmark_case("rosenbrock_10"),
        benchmarks.HumpMixture: benchmark_case("three_hump"),
        benchmarks.NoisyNetwork: benchmark_case("network_weights"),
        benchmarks.NoisyOffset: benchmark_case("noisy_parabola"),
        benchmarks.Degrader: benchmark_case("mixed_chain", "degrader"),
        benchmarks.Crystal: benchmark_case("mixed_chain", "crystal"),
        benchmarks.ClearCrystal: benchmark_case("mixed_chain", "crystal", "twin"),
        benchmarks.Counter: benchmark_case("mixed_chain", "counter"),
        BranchingToy: (lambda: BranchingToy(step_length=0.5, radius_cut=5.0), ring_point, central),
        TelescopeTwin: (lambda: TelescopeTwin(Apparatus(sharing=1.0)), telescope_point, muons),
        StripTelescope: (StripTelescope, telescope_point, muons),
        Counted: (lambda: Counted(ParametricShower()), calorimeter_point, electrons),
        Opaque: (lambda: Opaque(ParametricShower()), calorimeter_point, electrons),
        ExternalSimulator: (external_box.simulator, calorimeter_point, electrons),
    }


def primary_cases() -> dict[type, PrimarySource]:
    from mode_opt.detectors.z_resolution import LineShape, MuonPairs

    return {
        MuonPairs: MuonPairs(LineShape(), (60e3, 120e3)),
        ParticleGun: ParticleGun(),
        Recorded: Recorded(cells(), ["energy"], ["MeV"]),
        CentralSource: CentralSource(),
        MixtureSource: MixtureSource(),
        benchmarks.UniformInputs: benchmarks.UniformInputs((-2.0, 0.0), (2.0, 5.0)),
    }


def reconstruction_cases() -> dict[type, Callable[[Events, DesignPoint], Reconstruction]]:
    return {
        CellNetwork: CellNetwork.fitting,
        Classifier: Classifier.fitting,
        Critic: Critic.fitting,
        PriorBelief: PriorBelief.fitting,
        SetNetwork: SetNetwork.fitting,
        SummaryNetwork: SummaryNetwork.fitting,
        TrackFit: TrackFit.fitting,
        Verdict: Verdict.fitting,
    }


LIKELIHOODS = (DiscoverySignificance, ExpectedCLs, ExpectedUncertainty, ExpectedUpperLimit)


def deposit_templates() -> Templates:
    """Histograms of the deposit in the first of `cells`, with every kind of uncertainty."""
    shapes = {"energy": Variation("both", scale=0.02), "pedestal": Variation("background", shift=0.1)}
    return Templates(
        *(50.0, 100.0, (0.0, 1.0, 2.0, 3.5, 5.0), 0.5, 0),
        boundary=550.0,
        normalisation={"rate": {"background": 0.1}, "beam": {"signal": 0.02, "background": 0.02}},
        shapes=shapes,
        statistical=True,
    )


def score_templates() -> Templates:
    """Histograms of a score that was mapped, in units of bins."""
    return Templates(50.0, 100.0, (-1.0, 0.0, 1.0, 2.0), 100.0, boundary=550.0)


def cell_likelihood(events: Events, phi: DesignPoint) -> torch.Tensor:
    """The first deposit is normal about the gain times the truth in hundreds, with a width of one."""
    mean = phi["gain"] * events.truth[..., 0] / 100
    return -((events.hits[:, :, 0, 0] - mean) ** 2) / 2


def cell_response(truth: torch.Tensor, phi: DesignPoint) -> torch.Tensor:
    """Counts that grow with gain and truth."""
    return phi["gain"][0] * truth / 100


def objective_cases() -> dict[type, Objective]:
    from mode_opt.detectors.branching_shower.objectives import Leakage, ShowerDepth, SignalUniformity, SumResolution
    from mode_opt.detectors.event_selection import Accepted, ScoreBins

    return {
        Resolution: Resolution(),
        PosteriorBound: PosteriorBound(),
        DesignCost: DesignCost("gain"),
        RadiusDeviation: RadiusDeviation(),
        benchmarks.MeanResponse: benchmarks.MeanResponse(),
        benchmarks.Window: benchmarks.Window(),
        benchmarks.SquaredError: benchmarks.SquaredError(0),
        ShowerDepth: ShowerDepth(5.0, layers=True),
        Leakage: Leakage(features=1),
        SignalUniformity: SignalUniformity(2.0),
        SumResolution: SumResolution(),
        Significance: Significance(boundary=550.0),
        Accepted: Accepted(boundary=550.0),
        ScoreBins: ScoreBins(DiscoverySignificance(score_templates()), "gain", "cut"),
        **{kind: kind(deposit_templates()) for kind in LIKELIHOODS},
        AreaUnderCurve: AreaUnderCurve(source="hits", boundary=550.0),
        CrossEntropy: CrossEntropy(source="hits", boundary=550.0),
        SignalLoss: SignalLoss(source="hits", boundary=550.0),
        Rate: Rate([Interval(0, 2.5)]),
        MuonShield: MuonShield("gain", 1.0, y=0, momentum_feature=0, charge=None, momentum=1.0),
        Dose: Dose("geud", a=2.0),
        Robust: Robust(Rate(value=0), {"nominal": Nominal(), "gain": Miscalibration(factor=0.9)}, "cvar", 0.5),
        Constrained: Constrained(Resolution(), {"rate": Rate()}, {"rate": 5.0}),
        Lexicographic: Lexicographic(
            {"a": Resolution(), "b": Rate(value=0)}, {"a": 0.5, "b": 20.0}, {"a": 0.1, "b": 5.0}
        ),
        Separation: Separation(source="hits", boundary=550.0),
        Sinkhorn: Sinkhorn(scales=(100.0,)),
        ContrastiveInformation: ContrastiveInformation(15),
        InformationGain: InformationGain(cell_likelihood, 15),
        CramerRao: CramerRao(cell_response),
        WeightedSum: WeightedSum({"a": Resolution(), "b": DesignCost("gain")}, {"a": 1.0, "b": 0.1}),
    }


def estimator_cases() -> dict[type, GradientEstimator]:
    return {
        cls: cls()
        for cls in (
            *(Automatic, BoundaryTerms, ControlVariate, EvolutionStrategies, FiniteDifferences, LineageCredit),
            *(
                LocalSurrogate,
                MeasureValued,
                Pathwise,
                PrunedAlternative,
                Relaxed,
                ScoreFunction,
                SimultaneousPerturbation,
            ),
            StraightThrough,
        )
    }


def search_cases() -> dict[type, Callable[[], DesignSearch]]:
    """Each builds a search with little effort, for a problem whose single events have values."""
    return {
        BayesianOptimisation: lambda: BayesianOptimisation(events=10, initial=3),
        TrustRegionBayesianOptimisation: lambda: TrustRegionBayesianOptimisation(events=10, initial=3, candidates=2),
        HypervolumeSearch: lambda: HypervolumeSearch(events=10, initial=3),
        RandomSearch: lambda: RandomSearch(events=10),
        CovarianceAdaptation: lambda: CovarianceAdaptation(events=5),
        StartPoint: lambda: StartPoint(RandomSearch(events=10), FiniteDifferences(), steps=4, events=20),
        LocalRegression: lambda: LocalRegression(sampling=Sampling(calls=40), inducing=60),
        LocalSurrogate: lambda: LocalSurrogate(
            partial(gaussian, training={"steps": 40}), sampling=Sampling(calls=60), descent=Descent(events=64, steps=10)
        ),
    }


NOUNS: dict[type, Callable[[], dict[type, Any]]] = {
    Simulator: simulator_cases,
    PrimarySource: primary_cases,
    Reconstruction: reconstruction_cases,
    Objective: objective_cases,
    GradientEstimator: estimator_cases,
    DesignSearch: search_cases,
    Design: lambda: {},
}
