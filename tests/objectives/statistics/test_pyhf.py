"""The likelihood against pyhf: expectation, density, best fits, uncertainty, CLs and limits, for each modifier."""

import numpy as np
import pytest
import torch

from mode_opt.objectives.statistics import (
    covariance,
    discovery,
    fit,
    hypothesis_test,
    read_workspace,
    upper_limit,
)

pyhf = pytest.importorskip("pyhf", reason="pyhf is the reference of the binned likelihood")
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")  # of pyhf's schema check


def sample(name, data, *modifiers):
    return {"name": name, "data": list(data), "modifiers": [dict(zip(("name", "type", "data"), m)) for m in modifiers]}  # noqa: B905


def workspace(samples, observed, parameters=(), second=None):
    channels = [{"name": "a", "samples": samples}]
    observations = [{"name": "a", "data": list(observed)}]
    if second is not None:
        channels.append({"name": "b", "samples": second[0]})
        observations.append({"name": "b", "data": list(second[1])})
    measurement = {"name": "m", "config": {"poi": "mu", "parameters": list(parameters)}}
    return {"channels": channels, "observations": observations, "measurements": [measurement], "version": "1.0.0"}


MU = ("mu", "normfactor", None)
LUMI = {"name": "lumi", "inits": [1.0], "bounds": [[0.5, 1.5]], "auxdata": [1.0], "sigmas": [0.03]}
BINS = np.arange(12)
PEAK = 12 * np.exp(-0.5 * ((BINS - 6) / 1.5) ** 2) + 0.3
FALL = 90 * np.exp(-BINS / 6)
FLUCTUATED = np.round(FALL + 0.4 * PEAK + 3 * np.sin(3.0 * BINS))

CASES = {
    "counting": workspace(
        [sample("s", [8.0], MU), sample("b", [40.0], ("n", "normsys", {"lo": 0.85, "hi": 1.2}))], [45]
    ),
    "shapesys": workspace(
        [sample("s", [12.0, 11.0], MU), sample("b", [50.0, 52.0], ("g", "shapesys", [3.0, 7.0]))], [51, 48]
    ),
    "histosys": workspace(
        [
            sample("s", [5.0, 10.0], MU, ("j", "normsys", {"lo": 0.95, "hi": 1.07})),
            sample("b", [50.0, 60.0], ("j", "histosys", {"lo_data": [47.0, 63.0], "hi_data": [54.0, 58.0]})),
        ],
        [57, 63],
    ),
    "staterror": workspace(
        [
            sample("s", [5.0, 10.0], MU, ("e", "staterror", [0.5, 0.9])),
            sample("b", [50.0, 60.0], ("e", "staterror", [4.0, 6.0])),
            sample("c", [7.0, 0.0], ("e", "staterror", [1.0, 0.0]), ("n", "normsys", {"lo": 0.5, "hi": 1.6})),
        ],
        [61, 75],
    ),
    "lumi": workspace(
        [
            sample("s", [5.0, 10.0], MU, ("lumi", "lumi", None)),
            sample("b", [50.0, 60.0], ("lumi", "lumi", None), ("n", "normsys", {"lo": 0.9, "hi": 1.1})),
        ],
        [50, 70],
        [LUMI],
    ),
    "shapefactor_and_control": workspace(
        [sample("s", [5.0, 9.0], MU), sample("b", [50.0, 60.0], ("f", "shapefactor", None))],
        [53, 66],
        second=([sample("b", [200.0, 240.0], ("f", "shapefactor", None))], [207, 231]),
    ),
    "many_bins": workspace(
        [
            sample("s", PEAK, MU, ("lumi", "lumi", None), ("scale", "normsys", {"lo": 0.96, "hi": 1.03})),
            sample(
                "b",
                FALL,
                ("lumi", "lumi", None),
                (
                    "tilt",
                    "histosys",
                    {"lo_data": list(FALL * (1 - 0.01 * BINS)), "hi_data": list(FALL * (1 + 0.02 * BINS))},
                ),
                ("e", "staterror", list(0.5 * FALL**0.5)),
                ("scale", "histosys", {"lo_data": list(FALL * 0.99 + 0.1), "hi_data": list(FALL * 1.02)}),
            ),
            sample(
                "c",
                0.2 * FALL[::-1],
                ("g", "shapesys", list(0.05 * FALL[::-1])),
                ("cn", "normsys", {"lo": 0.7, "hi": 1.4}),
            ),
        ],
        FLUCTUATED + np.round(0.2 * FALL[::-1]),
        [LUMI],
        second=([sample("b", [300.0], ("lumi", "lumi", None)), sample("s", [4.0], MU)], [309]),
    ),
}


@pytest.fixture(params=CASES)
def problem(request):
    spec = CASES[request.param]
    reference = pyhf.Workspace(spec)
    model = reference.model(measurement_name="m")
    ours, data = read_workspace(spec)
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-13, maxiter=20000))
    return model, reference.data(model), ours, data


def order(model, ours):
    """Where the parameters of pyhf are among ours."""
    names = [name.replace("[0]", "") if model.config.param_set(name.split("[")[0]).n_parameters == 1 else name
             for name in model.config.par_names]  # fmt: skip
    return [ours.names.index(name) for name in names]


def test_expectation_density_and_derivatives_anywhere(problem):
    model, data, ours, observed = problem
    place = order(model, ours)
    generator = np.random.default_rng(3)
    for _ in range(5):
        shift = generator.normal(0, 1.0, len(place))
        fixed = np.array(model.config.suggested_fixed())
        scale = np.where(np.array(model.config.suggested_init()) == 0, 1.5, 0.2) * ~fixed
        theirs = np.array(model.config.suggested_init()) + scale * shift
        theta = torch.empty(1, len(place), dtype=torch.float64)
        theta[0, place] = torch.from_numpy(theirs)
        np.testing.assert_allclose(ours.expected(theta)[0], model.main_model.expected_data(theirs), rtol=1e-10)
        # pyhf gives held statistical factors without uncertainty a constraint of width 1, and so do we.
        assert ours.log_density(theta, observed).item() == pytest.approx(model.logpdf(theirs, data)[0], rel=1e-10)
        inputs = theta.requires_grad_()
        slopes = ours.derivatives(inputs, observed)
        (slope,) = torch.autograd.grad(-ours.log_density(inputs, observed).sum(), inputs)
        torch.testing.assert_close(slopes.gradient, slope, rtol=1e-9, atol=1e-9)
        rows = [torch.autograd.grad(slopes.gradient[0, k], inputs, retain_graph=True)[0][0] for k in range(len(place))]
        torch.testing.assert_close(slopes.hessian[0], torch.stack(rows), rtol=1e-8, atol=1e-8)


def test_best_fit_and_uncertainty(problem):
    model, data, ours, observed = problem
    place = order(model, ours)
    best, value = pyhf.infer.mle.fit(data, model, return_fitted_val=True)
    found = fit(ours, observed).theta
    assert -2 * ours.log_density(found, observed).item() <= value + 1e-9
    np.testing.assert_allclose(found[0, place], best, rtol=1e-4, atol=2e-4)
    # The curvature of pyhf's own density at that fit, by central differences of its logpdf.
    free = [k for k, fixed in enumerate(model.config.suggested_fixed()) if not fixed]
    point = found[0, place].numpy()
    step = 1e-3 * np.maximum(covariance(ours, found, observed)[0].diagonal()[place].sqrt().numpy(), 1e-2)

    def density(i, a, j, b):
        moved = point.copy()
        moved[i] += a * step[i]
        moved[j] += b * step[j]
        return -model.logpdf(moved, data)[0]

    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    hessian = [
        [sum(a * b * density(i, a, j, b) for a, b in signs) / (4 * step[i] * step[j]) for j in free] for i in free
    ]
    variance = np.linalg.inv(np.array(hessian))[free.index(model.config.poi_index), free.index(model.config.poi_index)]
    sigma = covariance(ours, found, observed)[0, ours.interest, ours.interest].sqrt().item()
    assert sigma == pytest.approx(variance**0.5, rel=1e-4)


def test_confidence_levels_and_band(problem):
    model, data, ours, observed = problem
    for mu in (1.0, 2.5):
        level, band = pyhf.infer.hypotest(mu, data, model, return_expected_set=True)
        found = hypothesis_test(ours, observed, mu)
        assert found.observed.item() == pytest.approx(float(level), rel=1e-4)
        np.testing.assert_allclose(found.expected[0], np.array(band, dtype=float), rtol=1e-4)


def test_the_confidence_levels_of_pyhf_at_our_limits(problem):
    """CLs falls by more than its own size where μ doubles: the limits agree at least as well as the levels."""
    model, data, ours, observed = problem
    limit = upper_limit(ours, observed, band=None).item()
    assert float(pyhf.infer.hypotest(limit, data, model)) == pytest.approx(0.05, rel=1e-4)
    for n, place in ((2.0, 4), (0.0, 2)):
        limit = upper_limit(ours, observed, band=n).item()
        _, band = pyhf.infer.hypotest(limit, data, model, return_expected_set=True)
        assert float(band[place]) == pytest.approx(0.05, rel=1e-4)


def test_upper_limits_of_a_scan():
    spec = CASES["shapesys"]
    model = pyhf.Workspace(spec).model(measurement_name="m")
    ours, observed = read_workspace(spec)
    scan = pyhf.infer.intervals.upper_limits.toms748_scan
    level, band = scan(observed.main[0].tolist() + model.config.auxdata, model, 0.01, 9.9, rtol=1e-7)
    assert upper_limit(ours, observed, band=None).item() == pytest.approx(float(level), rel=1e-4)
    found = [upper_limit(ours, observed, band=n).item() for n in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    assert found == pytest.approx([float(one) for one in band], rel=1e-4)


def test_discovery(problem):
    model, data, ours, observed = problem
    expected = float(pyhf.infer.hypotest(0.0, data, model, test_stat="q0"))
    z = discovery(ours, observed)
    assert torch.special.ndtr(-z).item() == pytest.approx(expected, rel=1e-4)
