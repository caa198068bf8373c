"""The binned likelihood against the reference numbers of objectives_and_ecosystem.md 2 and against itself."""

from dataclasses import replace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.objectives import discovery_significance
from mode_opt.objectives.statistics import (
    Channel,
    HistoSys,
    Lumi,
    NormFactor,
    NormSys,
    Sample,
    Settings,
    ShapeSys,
    StatError,
    asimov_statistic,
    build,
    covariance,
    discovery,
    expected_levels,
    fit,
    hypothesis_test,
    uncertainty,
    upper_limit,
    upper_statistic,
)


def double(*values):
    return tuple(torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values)


def uncorrelated(signal, background, error):
    samples = [Sample("s", signal, [NormFactor("mu")]), Sample("b", background, [ShapeSys("g", error)])]
    return build([Channel("a", samples)])


A, B = ((5.0, 10.0), (50.0, 60.0), (5.0, 12.0)), ((12.0, 11.0), (50.0, 52.0), (3.0, 7.0))
TABLE = {
    "A": (
        A,
        *(0.837948632, (0.07807388, 0.17472508, 0.359984123, 0.63435608, 0.88099434), 2.123588908, 0.876070322),
        *((1.132429690, 1.101946330), (0.96881275, 0.88850426)),
        {
            "cls": ((-0.0369097, -0.0299751), (0.0012539, 0.0009437), (0.0113896, 0.0160523)),
            "z": ((0.0713645, 0.0489973), None, (-0.0248158, -0.0305408)),
            "limit": ((-0.1518271, -0.1364453), None, None),
            "sigma": ((-0.0879277, -0.0662754), None, None),
        },
    ),
    "B": (
        B,
        *(3.379581305, (0.00272211, 0.01429057, 0.066008822, 0.23880011, 0.57733837), 1.068778573, 1.823696621),
        *((0.567182388, 0.524236201), (0.96973709, 0.90835993)),
        {
            "cls": ((-0.0138876, -0.0085758), (0.0013684, 0.0005199), (0.0069329, 0.0056511)),
            "z": ((0.0982375, 0.0516506), None, (-0.0664333, -0.0426356)),
            "limit": ((-0.0566972, -0.0353102), None, None),
            "sigma": ((-0.0282323, -0.0170402), None, None),
        },
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_reference_values_and_derivatives(name):
    problem, q, band, limit, z, sigma, conditional, slopes = TABLE[name]
    inputs = double(*problem)
    model = uncorrelated(*inputs)
    test = hypothesis_test(model)
    figures = {
        "cls": test.expected[:, 2],
        "z": discovery(model),
        "limit": upper_limit(model),
        "sigma": uncertainty(model),
    }
    assert test.q_asimov.item() == pytest.approx(q, abs=1e-8)
    assert test.expected[0].tolist() == pytest.approx(band, abs=1e-8)
    assert (figures["limit"].item(), figures["z"].item()) == pytest.approx((limit, z), abs=1e-8)
    assert figures["sigma"].item() == pytest.approx(sigma[0], abs=1e-8)
    assert uncertainty(model, model.at(0.0)).item() == pytest.approx(sigma[1], abs=1e-8)
    assert fit(model, model.asimov(model.at(0.0)), 1.0).theta[0, 1:].tolist() == pytest.approx(conditional, abs=1e-7)
    for key, wanted in slopes.items():
        found = torch.autograd.grad(figures[key].sum(), inputs, retain_graph=True)
        for one, numbers in zip(found, wanted, strict=True):
            assert numbers is None or one.tolist() == pytest.approx(numbers, abs=1e-7)


def test_observed_confidence_level_of_real_data():
    model = uncorrelated(*double(*B))
    test = hypothesis_test(model, model.observation(torch.tensor([51.0, 48.0])))
    assert test.observed.item() == pytest.approx(0.05251552, abs=1e-8)
    assert test.expected[0, 2].item() == pytest.approx(0.06445515, abs=1e-8)


def test_a_detached_fit_has_the_wrong_sign():
    """σ(μ) at the fit of data that are not Asimov's moves with the fit: the implicit derivative has to be there."""
    inputs = double(*A)
    model = uncorrelated(*inputs)
    auxiliary = torch.tensor([[0.0, 100.0, 25.0]], dtype=torch.float64)
    data = replace(model.observation(torch.tensor([58.0, 66.0])), poisson=auxiliary)
    found = fit(model, data)
    assert found.theta[0].tolist() == pytest.approx([0.986474295, 1.019211245, 0.956719987], abs=1e-8)
    sigma = uncertainty(model, found.theta, data)
    assert sigma.item() == pytest.approx(1.109574413, abs=1e-8)
    _, b, d = torch.autograd.grad(sigma.sum(), inputs, retain_graph=True)
    assert b.tolist() == pytest.approx([-0.007659851, -0.005026470], abs=1e-8)
    assert d.tolist() == pytest.approx([0.153197022, 0.050264696], abs=1e-8)
    detached = uncertainty(model, found.theta.detach(), data)
    wrong, none = torch.autograd.grad(detached.sum(), (inputs[1], inputs[2]), allow_unused=True)
    assert wrong.tolist() == pytest.approx([0.008046401, 0.010792870], abs=1e-8) and none is None


def rich(counts, signal, size, designs=1):
    """A model with every kind of modifier; ``counts`` and ``signal`` are ``b x 4``, ``size`` is ``b``."""
    tilt = torch.linspace(-0.1, 0.1, 4, dtype=torch.float64)
    fixed = torch.tensor([4.0, 6.0, 5.0, 3.0], dtype=torch.float64)
    samples = [
        Sample("s", signal, [NormFactor("mu"), Lumi("lumi"), NormSys("n", 0.95, 1 + 0.4 * size)]),
        Sample(
            "b",
            counts,
            [
                *(Lumi("lumi"), NormSys("n", 0.9, 1 + size), StatError("e", 0.3 * counts.sqrt())),
                HistoSys("h", counts * (1 - tilt * 0.8), counts * (1 + tilt + 5 * tilt**2 * size.reshape(-1, 1))),
            ],
        ),
        Sample("c", fixed, [ShapeSys("g", 0.4 * fixed * size.reshape(-1, 1)), NormSys("k", 0.7, 1.3)]),
    ]
    return build([Channel("a", samples)], settings={"lumi": Settings(center=1.0, width=0.02)})


numbers = st.lists(st.floats(5.0, 60.0), min_size=4, max_size=4)
peaks = st.lists(st.floats(1.0, 15.0), min_size=4, max_size=4)


@settings(deadline=None, max_examples=4, phases=[Phase.generate])
@given(numbers, peaks, st.floats(0.05, 0.3), st.integers(0, 10**6))
def test_figures_agree_with_central_differences(counts, signal, size, seed):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(4, generator=generator, dtype=torch.float64)
    data = (torch.tensor(counts) + torch.tensor([4, 6, 5, 3]) + 1.2 * torch.tensor(signal) + noise).round()

    def figures(values):
        model = rich(values[None, :4], values[None, 4:8], values[8:])
        observed = model.observation(data)
        best = fit(model, observed).theta
        test = hypothesis_test(model, observed, 2.5)
        out = [discovery(model), upper_limit(model), upper_limit(model, band=1.0), uncertainty(model)]
        out += [
            test.observed,
            test.expected[:, 1],
            upper_limit(model, observed),
            upper_limit(model, observed, band=None),
        ]
        return torch.cat([*out, best.sum(1), covariance(model, best, observed).diagonal(dim1=1, dim2=2).sum(1)])

    point = torch.tensor([*counts, *signal, size], dtype=torch.float64, requires_grad=True)
    values = figures(point)
    direction = torch.randn(9, generator=generator, dtype=torch.float64) * point.detach() * 0.1
    eps = 1e-4
    with torch.no_grad():
        up, down = figures(point + eps * direction), figures(point - eps * direction)
    for k in range(len(values)):
        (slope,) = torch.autograd.grad(values[k], point, retain_graph=True)
        central = (up[k] - down[k]) / (2 * eps)
        assert (slope @ direction).item() == pytest.approx(central.item(), rel=2e-4, abs=2e-6), k


def test_a_batch_is_its_designs_one_by_one():
    generator = torch.Generator().manual_seed(1)
    counts = 10 + 40 * torch.rand(5, 4, generator=generator, dtype=torch.float64)
    signal, size = counts.flip(0) / 6, torch.linspace(0.05, 0.3, 5, dtype=torch.float64)
    data = (counts * 1.2 + 3).round()

    def figures(model, observed):
        test = hypothesis_test(model, observed, 1.5)
        limits = [upper_limit(model), upper_limit(model, observed, band=None)]
        columns = [*limits, discovery(model), test.observed, uncertainty(model)]
        return torch.cat([torch.stack(columns, 1), test.expected, fit(model, observed).theta], 1)

    model = rich(counts, signal, size)
    together = figures(model, model.observation(data))
    for k in range(5):
        alone = rich(counts[k : k + 1], signal[k : k + 1], size[k : k + 1])
        torch.testing.assert_close(figures(alone, alone.observation(data[k]))[0], together[k], rtol=1e-7, atol=1e-8)


@settings(deadline=None, max_examples=20)
@given(peaks, numbers, st.floats(0.01, 0.5))
def test_closed_forms_of_independent_bins(signal, background, relative):
    s, b = torch.tensor([signal, background], dtype=torch.float64)
    d = relative * b
    model = uncorrelated(s, b, d)
    z = discovery_significance(s, b, d).square().sum().sqrt()
    assert discovery(model).item() == pytest.approx(z.item(), rel=1e-9)
    for mu in (0.0, 1.0, 3.0):
        sigma = (s**2 / (mu * s + b + d**2)).sum() ** -0.5
        assert uncertainty(model, model.at(mu)).item() == pytest.approx(sigma.item(), rel=1e-10)


def test_a_limit_excludes_nothing_less_and_data_below_pull_the_strength_to_its_bound():
    model = uncorrelated(*double(*A))
    data = model.observation(torch.tensor([30.0, 40.0]))
    best = fit(model, data)
    assert best.theta[0, 0].item() == 0 and not best.free[0, 0]
    free = fit(model.bounded(-100.0, 100.0), data).theta[0, 0].item()
    assert free < -1
    # With μ ≥ 0 the statistic is the one without that bound less a constant: smaller.
    assert upper_statistic(model, data, 1.0) < upper_statistic(model.bounded(-100.0, 100.0), data, 1.0)
    assert upper_statistic(model, model.observation(torch.tensor([90.0, 90.0])), 1.0).item() == 0
    assert discovery(model, data).item() == 0


def test_empty_bins_are_harmless_without_data_and_an_error_with():
    s, b, d = double((5.0, 0.0, 0.0), (50.0, 7.0, 0.0), (5.0, 0.0, 0.0))
    model = uncorrelated(s, b, d)
    z, limit = discovery(model), upper_limit(model)
    smaller = uncorrelated(*double((5.0,), (50.0,), (5.0,)))
    assert z.item() == pytest.approx(discovery(smaller).item())
    assert limit.item() == pytest.approx(upper_limit(smaller).item())
    for slope in torch.autograd.grad((z + limit).sum(), (s, b, d)):
        assert slope.isfinite().all()
    with pytest.raises(NonFiniteError, match="zero expectation"):
        fit(model, model.observation(torch.tensor([50.0, 7.0, 3.0])))


def test_no_signal_has_no_significance_no_limit_and_no_uncertainty():
    s, b, d = double((0.0, 0.0), (50.0, 7.0), (5.0, 1.0))
    model = uncorrelated(s, b, d)
    z = discovery(model)
    assert z.item() == 0 and all(slope.isfinite().all() for slope in torch.autograd.grad(z.sum(), (s, b, d)))
    with pytest.raises(NonFiniteError, match="singular"):
        uncertainty(model)
    with pytest.raises(NonFiniteError, match="singular"):
        upper_limit(model)


def test_many_and_few_counts():
    for scale in (1e-3, 1e5):
        s, b, d = (scale * torch.tensor(x, dtype=torch.float64) for x in ((2.0, 1.0), (5.0, 9.0), (0.5, 0.9)))
        model = uncorrelated(s, b, d)
        z = discovery_significance(s, b, d).square().sum().sqrt()
        assert discovery(model).item() == pytest.approx(z.item(), rel=1e-6)
        limit = upper_limit(model)
        assert hypothesis_test(model, interest=limit).observed.item() == pytest.approx(0.05, rel=1e-7)


def test_models_that_cannot_be():
    s, b, d = double(*A)
    with pytest.raises(ConfigurationError, match="interest: got 'nu'"):
        build([Channel("a", [Sample("s", s, [NormFactor("mu")])])], "nu")
    with pytest.raises(ConfigurationError, match=r"settings\.lumi"):
        build([Channel("a", [Sample("s", s, [NormFactor("mu"), Lumi("lumi")])])])
    with pytest.raises(ConfigurationError, match=r"modifiers\.mu"):
        build([Channel("a", [Sample("s", s, [NormFactor("mu")]), Sample("b", b, [NormSys("mu", 0.9, 1.1)])])])
    with pytest.raises(ConfigurationError, match="2 bins"):
        build([Channel("a", [Sample("s", s, [NormFactor("mu"), ShapeSys("g", d[:1])])])])
    with pytest.raises(ConfigurationError, match="positive factors"):
        build([Channel("a", [Sample("s", s, [NormFactor("mu"), NormSys("n", 0.0, 1.1)])])])
    with pytest.raises(ConfigurationError, match=r"samples\.b: got 1, expected as many bins"):
        build([Channel("a", [Sample("s", s, [NormFactor("mu")]), Sample("b", b[:1])])])
    with pytest.raises(ConfigurationError, match=r"modifiers\.g: .* a ShapeSys name used once"):
        build([Channel("a", [Sample("s", s, [ShapeSys("g", d)]), Sample("b", b, [ShapeSys("g", d)])])])
    with pytest.raises(ConfigurationError, match="channels"):
        build([])
    with pytest.raises(ConfigurationError, match="level"):
        upper_limit(uncorrelated(s, b, d), level=1.5)
    with pytest.raises(ConfigurationError, match="band"):
        upper_limit(uncorrelated(s, b, d), band=None)


def test_the_templates_of_the_inferno_benchmark():
    """Uncertainty of 50 signal events over 1000 of background in ten bins of the optimal observable (the note, 1.3)."""
    fs = torch.tensor([0.00722, 0.01025, 0.01388, 0.01919, 0.02767, 0.04263, 0.07296, 0.14986, 0.42510, 0.23124])
    fb = torch.tensor([0.62022, 0.05959, 0.04181, 0.03556, 0.03363, 0.03454, 0.03864, 0.04840, 0.07048, 0.01713])
    model = build([Channel("a", [Sample("s", 50 * fs, [NormFactor("mu")]), Sample("b", 1000 * fb)])])
    assert 50 * uncertainty(model).item() == pytest.approx(14.992, abs=1e-3)
    # A known rate uncertainty of the background only adds to it: what is known of b is not correlated with the shape.
    norm = NormSys("rate", 0.9, 1.1)
    worse = build([Channel("a", [Sample("s", 50 * fs, [NormFactor("mu")]), Sample("b", 1000 * fb, [norm])])])
    assert 50 * uncertainty(worse).item() > 15.5


@settings(deadline=None, max_examples=10)
@given(st.floats(-3, 3), st.floats(0.01, 0.3))
def test_a_limit_has_its_level_in_each_part_of_the_band(n, level):
    model = uncorrelated(*double(*A))
    limit = upper_limit(model, level=level, band=n)
    assert expected_levels(asimov_statistic(model, limit), (n,)).item() == pytest.approx(level, rel=1e-8)
    # More background than expected looks like signal: less is excluded.
    assert upper_limit(model, level=level, band=n + 0.5) > limit
