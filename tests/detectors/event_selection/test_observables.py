"""Observables against hand calculation, and their conditions against uproot."""

import numpy as np
import pytest
import torch
import uproot

from mode_opt.design import DesignPoint
from mode_opt.detectors.event_selection import event_selection, observable, read_events
from mode_opt.detectors.event_selection.features import DATA, LAYERS
from mode_opt.detectors.event_selection.observables import OBSERVABLES, moment_aliases
from mode_opt.detectors.event_selection.uproot_cut import uproot_cut
from mode_opt.errors import ConfigurationError

VALUES = {"start": 11.7, "depth": 19.3, "width": 9.42, "front": 0.42}


def test_values_by_hand():
    deposits = torch.zeros(2, LAYERS, dtype=torch.float64)
    deposits[0, 2], deposits[0, 3], deposits[0, 7] = 1.0, 2.0, 1.0
    deposits[1, 0] = 5.0
    found = {name: kind()(deposits).tolist() for name, kind in OBSERVABLES.items()}
    assert found["start"] == pytest.approx([2.4, 0.1])  # 10 % of 4 MeV are 40 % of layer 2
    assert found["depth"] == pytest.approx([(2.5 + 2 * 3.5 + 7.5) / 4, 0.5])
    assert found["width"] == pytest.approx([((1.75**2 + 2 * 0.75**2 + 3.25**2) / 4) ** 0.5, 0.0], abs=1e-7)
    assert found["front"] == pytest.approx([1.0, 1.0]) and found["layer"] == [0.0, 5.0]
    assert observable("front", "x", first=3)(deposits).tolist() == pytest.approx([0.25, 1.0])
    assert observable("start", "x", fraction=0.5)(deposits).tolist() == pytest.approx([3.5, 0.5])


def test_the_start_is_where_the_cumulative_energy_reaches_the_fraction():
    generator = torch.Generator().manual_seed(0)
    deposits = torch.rand(200, LAYERS, generator=generator, dtype=torch.float64) ** 8
    deposits[:, ::3] = 0
    edges = np.arange(LAYERS + 1)
    for fraction in (0.02, 0.3, 0.999):
        found = observable("start", "x", fraction=fraction)(deposits)
        cumulative = torch.cat([torch.zeros(200, 1), deposits.cumsum(1)], 1).numpy()
        reached = [
            np.interp(depth, edges, row) / row[-1] for depth, row in zip(found.tolist(), cumulative, strict=True)
        ]
        assert reached == pytest.approx([fraction] * 200, abs=1e-9)


@pytest.fixture(scope="module")
def showers(tmp_path_factory):
    """A file with sparse showers, the last of which are empty, and its deposits."""
    generator = torch.Generator().manual_seed(1)
    deposits = torch.rand(300, LAYERS, generator=generator) ** 4
    deposits[torch.rand(300, LAYERS, generator=generator) < 0.4] = 0
    deposits *= (torch.rand(300, LAYERS, generator=generator) * 1.5).cumsum(1).sub(4).square().neg().div(30).exp()
    deposits[-5:] = 0
    path = tmp_path_factory.mktemp("showers") / "showers.root"
    with uproot.recreate(path) as file:
        tree = file.mktree("showers", {"edep_gap": np.dtype(("f4", (LAYERS,))), "number": "i4"})
        tree.extend({"edep_gap": deposits.numpy(), "number": np.arange(300)})
    return path, deposits.double()


@pytest.mark.parametrize("keep", ["above", "below"])
@pytest.mark.parametrize("kind", OBSERVABLES)
def test_conditions_select_in_uproot_what_the_observable_says(kind, keep, showers):
    path, deposits = showers
    chosen, seen = observable(kind, "x"), deposits.sum(1) > 0
    values, checked = chosen(deposits), 0
    with uproot.open(path) as file:
        for probability in (0.1, 0.5, 0.8):
            ordered = values[seen].sort().values
            index = int(probability * len(ordered))
            threshold = float((ordered[index] + ordered[index + 1]) / 2)
            if threshold in (float(ordered[index]), 0.0):
                continue  # many showers have the same value
            cut = chosen.condition(keep, threshold, LAYERS)
            found = file["showers"].arrays(["number"], cut=cut, aliases=moment_aliases(LAYERS), library="np")["number"]
            expected = ((values > threshold) if keep == "above" else (values < threshold)) & seen
            assert found.tolist() == expected.nonzero().flatten().tolist() and 0 < len(found) < 295
            checked += 1
    assert checked >= 2


@pytest.mark.parametrize("library", ["ak", "np"])
def test_the_whole_expression_selects_the_events_that_the_hard_cuts_select(library):
    detector, cut = event_selection(sample="all"), uproot_cut(VALUES)
    hard = detector.simulator("hard")(DesignPoint.of(**VALUES), detector.primaries.events)
    with uproot.open(f"{DATA}:showers") as tree:
        entries = np.arange(tree.num_entries)[hard.hits[0, :, 0, -1].bool().numpy()]
        deposits = tree["edep_gap"].array(library="np")[entries]
        short = tree.arrays(["edep_gap"], cut=cut.cut, aliases=dict(cut.aliases), library=library)["edep_gap"]
        pasted = tree.arrays(["edep_gap"], cut=str(cut), library=library)["edep_gap"]
    assert 100 < len(entries) < 8000
    np.testing.assert_array_equal(np.asarray(short), deposits)
    np.testing.assert_array_equal(np.asarray(pasted), deposits)


def test_other_cuts_and_rounding():
    cut = uproot_cut({"front": 0.123456}, cuts={"start": None, "depth": None, "width": None})
    assert cut.thresholds == {"front": 0.1235} and cut.cut.endswith("< 0.1235 * moment_0)") and "&" not in cut.cut
    with pytest.raises(ConfigurationError, match="a number for each of start, depth, width, front"):
        uproot_cut({"start": 1.0})


def test_the_halves_are_disjoint_and_complete():
    observables = {"first": observable("layer", "x"), "depth": observable("depth", "x")}
    whole, training, held_out = (read_events(observables, sample) for sample in ("all", "training", "held_out"))
    assert torch.equal(torch.cat([training.hits, held_out.hits], 1), whole.hits)
    assert training.count == held_out.count == 8000 and whole.truth.sum() == 8000
    assert int((~whole.mask).sum()) == 1  # a shower that left nothing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": "test"}, "detector.sample: got 'test', expected one of training"),
        ({"noises": 1}, "detector.noises"),
        ({"noise": -1.0}, "detector.cuts.noise"),
        ({"cuts": {"start": {"keep": "left"}}}, "above or below"),
        ({"cuts": {"start": {"observable": "charge"}}}, "detector.cuts.start.observable: got 'charge'"),
        ({"cuts": {"depth": {"fraction": 0.1}}}, "detector.cuts.depth.fraction"),
        ({"cuts": {"start": {"fraction": 1.5}}}, "a fraction between 0 and 1"),
        ({"cuts": {"front": {"first": 0}}}, "at least one layer"),
        ({"cuts": {"rear": {"observable": "front"}}}, "a design parameter rear, the threshold"),
        ({"cuts": dict.fromkeys(VALUES)}, "at least one cut"),
    ],
)
def test_settings_that_cannot_be_used(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        event_selection(**changes)
