"""Lines, the track fit, scattering and strips against closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mode_opt.design import DesignPoint
from mode_opt.detectors.cosmic_telescope import Apparatus, Layers, Line, StripTelescope, TelescopeTwin, TrackFit
from mode_opt.detectors.cosmic_telescope.calibration import half_width, recorded_design, residuals
from mode_opt.detectors.cosmic_telescope.closed_form import central_half_width, without_scattering
from mode_opt.detectors.cosmic_telescope.detector import cosmic_telescope
from mode_opt.detectors.cosmic_telescope.strips import centre_of_gravity
from mode_opt.detectors.cosmic_telescope.twin import shared
from mode_opt.errors import ShapeError
from mode_opt.events import Events
from mode_opt.simulation import stream

EMPTY = {"wall": 1e-12, "strip": 1e-12}


def muons(phi, cot, z, b, momentum):
    """Primaries of tracks whose numbers are tensors of ``n`` or numbers."""
    columns = torch.broadcast_tensors(*(torch.as_tensor(x, dtype=torch.float32) for x in (phi, cot, z, b, momentum)))
    track = torch.stack(columns, -1)[None]
    return Events.of(track[..., :4], track.unsqueeze(2))


def point_on(line, path):
    n = torch.stack([-line.phi.sin(), line.phi.cos()])
    along = torch.stack([line.phi.cos(), line.phi.sin()])
    return torch.cat([path * along - line.b * n, (line.z + path * line.cot)[None]])


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 6.28), st.floats(0, 2), st.floats(-300, 300), st.floats(-150, 150), st.floats(-200, 200),
       st.floats(-0.4, 0.4), st.floats(-0.3, 0.3))  # fmt: skip
def test_lines_cross_cylinders_and_bend_where_they_are(phi, cot, z, b, path, turn, change):
    numbers = [torch.tensor([x], dtype=torch.float64) for x in (phi, cot, z, b)]
    line, radius = Line(*numbers), torch.tensor(170.0, dtype=torch.float64)
    for side in (-1, 1):
        x, y, height = point_on(line, side * line.half_chord(radius))
        assert torch.hypot(x, y).item() == pytest.approx(170.0)
        azimuth = line.azimuth(radius, side)
        assert [azimuth.cos().item(), azimuth.sin().item()] == pytest.approx([x.item() / 170, y.item() / 170], abs=1e-9)
        assert line.height(radius, side).item() == pytest.approx(height.item())
    where = torch.tensor([path], dtype=torch.float64)
    bent = line.bent(where, torch.tensor(turn, dtype=torch.float64), torch.tensor(change, dtype=torch.float64))
    assert bent.phi.item() == pytest.approx(phi + turn) and bent.cot.item() == pytest.approx(cot + change)
    after = where * math.cos(turn) - line.b * math.sin(turn)
    torch.testing.assert_close(point_on(bent, after), point_on(line, where))


@settings(max_examples=20, deadline=None)
@given(st.floats(160, 200), st.floats(10, 60), st.floats(10, 60), st.floats(0.1, 0.8), st.floats(0.1, 0.8))
def test_the_fit_finds_tracks_without_errors(radius, first, second, inner, outer):
    phi = DesignPoint.of(
        radius=radius, gap=torch.tensor([first, second]), winding=torch.tensor([inner, outer]), pitch=9.0
    )
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(4, 50, generator=generator)
    tracks = muons(6.28 * u[0], 2 * u[1], 600 * (u[2] - 0.5), 0.85 * radius * (2 * u[3] - 1), 5000.0)
    hits = TelescopeTwin(Apparatus(stereo=1e-9, axial=1e-9, **EMPTY))(phi, tracks, stream("cpu", 0))
    found = TrackFit()(hits, phi).mean - tracks.truth
    assert found.abs().amax((0, 1)).detach().tolist() == pytest.approx([0, 0, 0, 0], abs=0.02)
    assert found[..., :2].abs().max().item() < 2e-4


def test_errors_without_scattering_are_those_of_the_closed_form():
    phi, empty = recorded_design(), Apparatus(**EMPTY)
    tracks = cosmic_telescope().primaries.sample(20_000, stream("cpu", 1))
    belief = TrackFit()(TelescopeTwin(empty)(phi, tracks, stream("cpu", 2)), phi)
    residual = (belief.mean - tracks.truth).detach()
    errors = without_scattering(Layers.of(phi), empty, tracks.truth[..., 1], tracks.truth[..., 3])
    for k, error in enumerate((errors.phi, errors.cot, errors.z, errors.b)):
        assert (residual[..., k] / error).std().item() == pytest.approx(1.0, abs=0.025)
        measured = float(half_width(residual[0, :, k].numpy()))
        assert measured == pytest.approx(float(central_half_width(error)), rel=0.03)


@pytest.mark.parametrize("inner", [0.0, 0.2, 0.5])
def test_cot_is_the_slope_over_the_lever_arms(inner):
    """Equal layers, tracks through the axis: σ over the root of the summed squared lever arms; all in one is best."""
    radius, strips = torch.full((1, 3), 180.0), torch.full((1, 3), 100.0)
    arms = torch.tensor([inner, 0.0, inner - 1.0])  # c = 1
    layers = Layers(radius, arms / radius, strips)
    apparatus = Apparatus(stereo=0.4, axial=0.4)
    found = without_scattering(layers, apparatus, torch.zeros(1, 1), torch.zeros(1, 1))
    sigma = 0.4 * 2 * math.pi / 100 / math.sqrt(2)
    assert found.cot.item() == pytest.approx(sigma / math.sqrt(2 / 3 * (1 - inner * (1 - inner))), rel=1e-5)
    assert found.phi.item() == pytest.approx(
        sigma * math.sqrt((arms**2).sum() / (3 * (arms**2).sum() - arms.sum() ** 2)), rel=1e-5
    )
    if inner == 0.5:
        one = without_scattering(Layers(radius, torch.tensor([0.0, 0.0, -1.0]) / radius, strips), apparatus,
                                 torch.zeros(1, 1), torch.zeros(1, 1))  # fmt: skip
        assert (found.cot / one.cot).item() == pytest.approx(math.sqrt(4 / 3), rel=1e-5)
        assert (one.phi / found.phi).item() == pytest.approx(math.sqrt(3 / 2), rel=1e-5)


def test_scattering_turns_the_measured_direction_as_the_highland_formula_says():
    """Matter in the tubes only, layers at one radius: each deflection counts by how it moves the two crossings."""
    radius, core, wall, momentum = 180.0, 8.8, 0.1, 1000.0
    phi = DesignPoint.of(radius=radius, gap=torch.tensor([1e-3, 1e-3]), winding=torch.tensor([0.5, 0.5]), pitch=10.0)
    tracks = muons(torch.full((40_000,), 1.0), 0.0, 0.0, 0.0, momentum)
    twin = TelescopeTwin(Apparatus(stereo=1e-9, axial=1e-9, wall=wall, strip=1e-12))
    turned = (TrackFit()(twin(phi, tracks, stream("cpu", 0)), phi).mean - tracks.truth)[0, :, 0]
    beta = momentum / math.hypot(momentum, 105.658)
    scale = 13.6 / (beta * momentum) * (1 + 0.038 * math.log(wall * (0.4 + 2 * 0.6)))
    inside = radius - core
    parts = 0.4 * wall + 0.6 * wall * ((radius + inside) ** 2 + (radius - inside) ** 2) / (4 * radius**2)
    assert turned.std().item() == pytest.approx(scale * math.sqrt(parts), rel=0.02)


def test_the_centre_of_gravity_of_strips():
    near = torch.tensor([0.2, -0.4, 0.1, 2.3, 0.49999, -3.7], dtype=torch.float64)
    far = torch.tensor([0.3, 0.4, 3.7, -1.2, 0.50001, -3.7], dtype=torch.float64)
    sampled = [torch.linspace(a, b, 200_001, dtype=torch.float64).round().mean().item()
               for a, b in zip(near.tolist(), far.tolist(), strict=True)]  # fmt: skip
    found = centre_of_gravity(near, far).tolist()
    assert found[:4] == pytest.approx(sampled[:4], abs=1e-4) and found[5] == -4.0
    assert centre_of_gravity(far[:4], near[:4]).tolist() == pytest.approx(found[:4])


def test_the_error_by_sharing_is_that_of_the_centre_of_gravity():
    near = torch.rand(50_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for span in (1e-4, 0.3, 0.8, 1.4, 2.5):
        error = (centre_of_gravity(near, near + span) - (near + span / 2)).square().mean().sqrt().item()
        assert float(shared(torch.tensor(span, dtype=torch.float64))) == pytest.approx(error, rel=0.02)
    assert shared(torch.tensor([0.0, 1.0, 2.0])).tolist() == pytest.approx([1 / math.sqrt(12), 0.0, 0.0])


def widths_at(pitch, simulator):
    """Half-widths of φ, cot θ, z, b with the layers of the run at another pitch."""
    point = recorded_design()
    phi = DesignPoint.of(radius=165.8, gap=point["gap"], winding=point["winding"], pitch=pitch)
    tracks = cosmic_telescope().primaries.sample(20_000, stream("cpu", 3))
    found = TrackFit()(simulator(phi, tracks, stream("cpu", 4)), phi).mean[0]
    return half_width(residuals(found, tracks.truth[0]))


@pytest.mark.parametrize("pitch", [7.0, 10.28, 14.0])
def test_the_twin_with_sharing_has_the_errors_of_real_strips(pitch):
    """Also at other pitches than that of the run, where a fixed fraction of a strip does not."""
    real = widths_at(pitch, StripTelescope(Apparatus(wall=0.1)))
    sharing = widths_at(pitch, TelescopeTwin(Apparatus(stereo=1e-6, axial=1e-6, sharing=1.0, wall=0.1)))
    fixed = widths_at(pitch, TelescopeTwin(Apparatus(stereo=0.15, axial=0.15, wall=0.1)))
    assert sharing / real == pytest.approx([1, 1, 1, 1], abs=0.08)
    if pitch == 10.28:
        assert fixed / real == pytest.approx([1, 1, 1, 1], abs=0.12)
    if pitch == 14.0:
        assert (fixed / real < 0.9).all()


def test_real_strips_measure_what_the_strips_of_the_run_measure(own_tracks):
    """No error was fitted: half-widths of φ, cot θ, z, b agree with the refitted tracks of the run to 15 %."""
    tracks, _ = own_tracks
    copies = 20
    truth = tracks.truth.repeat(copies, 1)
    primaries = muons(*truth.T, tracks.momentum.repeat(copies))
    phi = recorded_design()
    apparatus = Apparatus(wall=0.101)
    found = TrackFit()(StripTelescope(apparatus)(phi, primaries, stream("cpu", 0)), phi).mean[0]
    simulated = half_width(residuals(found, truth))
    assert simulated / half_width(residuals(tracks.found, tracks.truth)) == pytest.approx([1, 1, 1, 1], abs=0.15)


def test_shapes_that_do_not_fit():
    phi, tracks = recorded_design(), muons(1.0, 0.3, 0.0, torch.zeros(3), 1e3)
    with pytest.raises(ShapeError, match="phi, cot, z, b, p"):
        TelescopeTwin()(phi, Events.of(tracks.truth, tracks.hits[..., :4]))
    with pytest.raises(ShapeError, match="six crossings"):
        TrackFit()(tracks, phi)
    with pytest.raises(ShapeError, match="gap"):
        TelescopeTwin()(DesignPoint.of(radius=165.0, gap=10.0, winding=torch.tensor([0.5, 0.5]), pitch=10.0), tracks)
