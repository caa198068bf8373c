"""The trained surrogate against recorded showers of designs that it has not seen.

The fixture `surrogate` trains it (about 40 s of CPU) unless $MODE_OPT_CACHE or the user's cache holds it.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.detectors.sampling_calorimeter.shower_coordinates import ShowerCoordinates
from mode_opt.detectors.sampling_calorimeter.surrogate import (
    held_out_designs,
    read_showers,
    shower_model,
    shower_surrogate,
)
from mode_opt.detectors.sampling_calorimeter.surrogate_slopes import recorded_slopes, surrogate_slopes
from mode_opt.detectors.sampling_calorimeter.surrogate_validation import (
    UNWEIGHTED,
    compare,
    simulated_sum,
    validate,
)
from mode_opt.errors import ConfigurationError, DataError, NonFiniteError, ShapeError
from mode_opt.events import Events
from mode_opt.simulation import Promise
from mode_opt.surrogates import DensitySurrogate, FitReport

ENERGIES = torch.tensor([500.0, 1000.0, 2000.0, 5000.0, 10_000.0])


@pytest.fixture(scope="session")
def surrogate() -> DensitySurrogate:
    """Trained here, and only here."""
    return shower_surrogate()


@pytest.fixture(scope="module")
def recorded() -> tuple[DesignPoint, Events]:
    phi, _, events = read_showers()
    return phi, events


@pytest.fixture(scope="module")
def rows(surrogate: DensitySurrogate, recorded: tuple[DesignPoint, Events]) -> list[dict[str, Any]]:
    """Measured anew: those in the cache may be of other code."""
    phi, events = recorded
    held = held_out_designs(phi)
    tested = DesignPoint(phi.values[held], phi.layout), Events.of(events.truth[held], events.hits[held])
    return validate(surrogate, *tested, FitReport(1, 1, 0.0, 0.0, ()))["rows"]


def electrons(energy: float, count: int = 100, dtype: torch.dtype = torch.float32) -> Events:
    truth = torch.full((1, count, 1), energy, dtype=dtype)
    return Events.of(truth, truth.unsqueeze(3))


def point(absorber: float, gap: float) -> DesignPoint:
    return DesignPoint.of(absorber_thickness=absorber, gap_thickness=gap)


def test_the_file_holds_256_designs_of_which_26_are_held_out(recorded: tuple[DesignPoint, Events]) -> None:
    phi, events = recorded
    held = held_out_designs(phi)
    assert events.hits.shape == (20_480, 1, 50, 1) and int(held.sum()) == 26 * 80
    seen = {tuple(row) for row in phi.values[~held].tolist()}
    assert len(seen) == 230 and not seen & {tuple(row) for row in phi.values[held].tolist()}


def test_means_and_resolutions_of_held_out_designs_are_within_limits(rows: list[dict[str, Any]]) -> None:
    """Pooled in bins of energy and sampling fraction: mean within 3 %, resolution within 15 % relative."""
    rows = [row for row in rows if row["quantity"] != UNWEIGHTED]
    assert len(rows) == 20 and {row["limit"] for row in rows} == {0.03, 0.15}
    wrong = [row for row in rows if abs(row["relative_difference"]) > row["limit"]]
    assert not wrong
    # The comparison must be able to tell: every bin is known to better than half of its limit.
    assert all(row["reference_standard_error"] / row["reference"] < 0.5 * row["limit"] for row in rows)


def test_unweighted_resolutions_exceed_the_limit_by_no_more_than_chance(rows: list[dict[str, Any]]) -> None:
    """Plain means of the variances: a few leaking designs decide, so the limit is widened by 2σ.

    Known: +23 ± 6 % at the highest sampling fractions, from the one design at 0.79/9.72 mm.
    """
    rows = [row for row in rows if row["quantity"] == UNWEIGHTED]
    assert len(rows) == 10
    for row in rows:
        error = row["surrogate"] * row["reference_standard_error"] / row["reference"] ** 2
        assert abs(row["relative_difference"]) < row["limit"] + 2 * error, row["bin"]


def test_slopes_of_the_resolution_have_the_sign_and_size_of_the_recorded_ones(
    surrogate: DensitySurrogate, recorded: tuple[DesignPoint, Events]
) -> None:
    """d ln R / d ln thickness against polynomial fits to all and to held-out showers, within 0.2 and 3σ."""
    phi, events = recorded
    held = held_out_designs(phi)
    points = torch.tensor([[4.5, 2.5], [3.5, 4.0], [2.5, 5.0], [1.5, 3.0]])
    found = surrogate_slopes(surrogate, points, ENERGIES).value
    some = DesignPoint(phi.values[held], phi.layout), Events.of(events.truth[held], events.hits[held])
    for data, degree in (((phi, events), 5), (some, 3)):
        expected = recorded_slopes(compare(surrogate, *data, showers=50), points, ENERGIES, degree)
        assert (found.sign() == expected.value.sign()).all()
        assert ((found - expected.value).abs() < 0.2 + 3 * expected.standard_error).all()


def test_layers_of_held_out_designs_have_the_recorded_means_and_correlations(
    surrogate: DensitySurrogate, recorded: tuple[DesignPoint, Events]
) -> None:
    """Ridge regression of the relative energy on five thick sections, fitted to surrogate showers.

    On recorded showers of held-out designs around the best, 10 GeV, it is as good as on surrogate ones (15 %,
    2.5σ), and better than the calibrated sum: the surrogate knows how leakage shows in the profile.
    """
    phi, events = recorded
    absorber, gap = phi["absorber_thickness"][:, 0], phi["gap_thickness"][:, 0]
    near = held_out_designs(phi) & (absorber > 1.3) & (absorber < 3.3) & (gap > 3.5) & (gap < 8)
    squares: dict[str, list[torch.Tensor]] = {"surrogate": [], "recorded": [], "sum": []}
    for design in phi.values[near].unique(dim=0):
        chosen = (phi.values == design).all(1) & (events.truth[:, 0, 0] == 10_000)
        real = sections(events.hits[chosen, 0, :, 0])
        with torch.no_grad():
            hits = surrogate(point(*design.tolist()), electrons(10_000.0, 8000), torch.Generator().manual_seed(2)).hits
        fake = sections(hits[0, :, :, 0])
        weights = torch.linalg.lstsq(fake[:4000], torch.ones(4000, 1)).solution[:, 0]
        squares["surrogate"].append((fake[4000:] @ weights - 1).square().mean())
        squares["recorded"].append((real @ weights - 1).square().mean())
        squares["sum"].append((real.sum(1) / fake.sum(1).mean() - 1).square().mean())
    rms = {name: float(torch.stack(values).mean().sqrt()) for name, values in squares.items()}
    assert rms["recorded"] == pytest.approx(rms["surrogate"], rel=0.15 + 2.5 / (2 * 16 * len(squares["sum"])) ** 0.5)
    assert rms["recorded"] < rms["sum"]


def sections(layers: torch.Tensor) -> torch.Tensor:
    """Energy in GeV of five sections of ten layers, ``n x 5``."""
    return layers.unflatten(1, (5, 10)).sum(2) / 1000


def test_between_the_trained_energies_the_response_is_smooth(surrogate: DensitySurrogate) -> None:
    """Gap energy over primary energy changes by less than 2 % between neighbours of 30 energies."""
    energy = torch.logspace(torch.log10(ENERGIES[0]).item(), 4, 30)[:, None]
    keys = torch.cat([torch.tensor([[2.3, 5.7]]).expand(30, -1), energy], dim=1)
    response = simulated_sum(surrogate, keys, 4000).mean(1) / energy[:, 0]
    assert ((response[1:] / response[:-1] - 1).abs() < 0.02).all()


def test_the_trained_hits_have_the_derivative_of_central_differences(surrogate: DensitySurrogate) -> None:
    double = shower_model().double()
    double.load_state_dict(surrogate.state_dict())
    layout, primaries = point(2.3, 5.7).layout, electrons(3000.0, 20, torch.double)
    weight = torch.linspace(1, 3, 50, dtype=torch.double)

    def response(values: torch.Tensor) -> torch.Tensor:
        hits = double(DesignPoint(values, layout), primaries, torch.Generator().manual_seed(3)).hits
        return (hits[0, :, :, 0] @ weight).mean()

    values = torch.tensor([[2.3, 5.7]], dtype=torch.double, requires_grad=True)
    (slope,) = torch.autograd.grad(response(values), values)
    for step, found in zip(1e-5 * torch.eye(2, dtype=torch.double), slope[0], strict=True):
        with torch.no_grad():
            central = (response(values + step) - response(values - step)) / 2e-5
        assert float(found) == pytest.approx(float(central), rel=1e-4)


def test_it_is_a_differentiable_simulator_of_fifty_layers(surrogate: DensitySurrogate) -> None:
    phi = DesignPoint.of(absorber_thickness=torch.tensor([[1.0], [4.5]]), gap_thickness=torch.tensor([[5.0], [2.5]]))
    first, second = (surrogate(phi, electrons(2000.0, 7), torch.Generator().manual_seed(s)) for s in (1, 1))
    assert surrogate.promise == Promise.DIFFERENTIABLE and first.hits.shape == (2, 7, 50, 1)
    assert (first.hits >= 0).all() and torch.equal(first.hits, second.hits)
    assert torch.equal(first.truth, electrons(2000.0, 7).truth.expand(2, -1, -1))


def test_coordinates_and_back_give_the_hits(recorded: tuple[DesignPoint, Events]) -> None:
    phi, events = recorded
    part = DesignPoint(phi.values[:500], phi.layout)
    primaries = Events.of(events.truth[:500], events.truth[:500].unsqueeze(3))
    coordinates, wanted = ShowerCoordinates(), Events.of(events.truth[:500], events.hits[:500])
    condition = coordinates.condition(part, primaries)
    features = coordinates.features(wanted, condition, torch.Generator().manual_seed(0))
    torch.testing.assert_close(coordinates.events(features, part, primaries).hits, wanted.hits, rtol=1e-4, atol=1e-4)


def test_designs_and_energies_outside_the_recorded_ones_are_refused() -> None:
    model = shower_model()
    with pytest.raises(ConfigurationError, match=r"gap_thickness: got 11.*1 to 10 mm"):
        model(point(2.0, 11.0), electrons(1000.0))
    with pytest.raises(ConfigurationError, match=r"primaries.energy: got 20000.*500 to 10000 MeV"):
        model(point(2.0, 5.0), electrons(20_000.0))
    with pytest.raises(ConfigurationError, match="50 values"):
        layers = DesignPoint.of(absorber_thickness=torch.full((1, 50), 2.0), gap_thickness=5.0)
        model(layers, electrons(1000.0))
    with pytest.raises(NonFiniteError, match="absorber_thickness"):
        model(point(float("nan"), 5.0), electrons(1000.0))
    with pytest.raises(ShapeError, match="one electron"):
        truth = torch.full((1, 5, 1), 1000.0)
        model(point(2.0, 5.0), Events.of(truth, torch.full((1, 5, 2, 1), 500.0)))


def test_bad_settings_and_files_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        shower_surrogate(data=tmp_path / "absent.root")
    with pytest.raises(ConfigurationError, match=r"surrogate.training.epochs.*one of steps"):
        shower_surrogate(training={"epochs": 3})
