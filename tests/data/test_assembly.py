"""Columns become events."""

import pytest
import torch

from mode_opt.data import EventAssembler, Ragged, RootReader
from mode_opt.data.columns import Columns
from mode_opt.errors import ConfigurationError, DataError, ShapeError


@pytest.fixture
def muons(hzz):
    branches = {
        "px": "Muon_Px",
        "charge": "Muon_Charge",
        "met": "MET_px",
        "mety": "MET_py",
        "w": "EventWeight",
    }
    return RootReader(hzz, {**branches, "jet": "Jet_Px"}).read()


def test_jagged_hits_are_padded_and_masked(muons):
    events, design = EventAssembler(["met", "mety"], ["px", "charge"], weight="w")(muons)
    assert events.truth.shape == (1, 2421, 2)
    assert events.hits.shape == (1, 2421, 4, 2)
    assert events.mask.sum(2).equal(muons["px"].counts[None])
    assert torch.equal(events.hits[events.mask][:, 0], muons["px"].values)
    assert torch.equal(events.hits[events.mask][:, 1], muons["charge"].values.float())
    assert not events.hits[~events.mask].any()
    assert torch.equal(events.weight[0], muons["w"])
    assert torch.equal(events.truth[0, :, 1], muons["mety"])
    assert events.log_probability is None
    assert design == {}


def test_too_many_hits_are_an_error_or_cut_by_choice(muons):
    with pytest.raises(DataError, match=r"maximum_hits: entry \d+ has 4 hits and 42 of 2421 entries have more than 2"):
        EventAssembler(["met"], ["px"], maximum_hits=2)(muons)
    events = EventAssembler(["met"], ["px"], maximum_hits=2, overflow="truncate")(muons).events
    assert torch.equal(events.hits[0, ..., 0], muons["px"].pad(4)[0][:, :2])
    assert events.mask.sum() == 949 + 2 * (1371 + 34 + 8)
    events = EventAssembler(["met"], ["px"], maximum_hits=6)(muons).events
    assert events.hits.shape == (1, 2421, 6, 1)
    assert events.mask.sum() == 3825


def test_layers_of_a_shower_with_its_design(showers):
    branches = {
        "e": {"expression": "primary_energy", "unit": "MeV"},
        "gap": "edep_gap",
        "absorber": "edep_absorber",
    }
    designs = ["absorber_thickness", "gap_thickness"]
    columns = RootReader(showers, {**branches, **{name: name for name in designs}}).read()
    batch = EventAssembler(["e"], ["gap", "absorber"], design=designs, dtype=torch.float64)(columns)
    assert batch.events.hits.shape == (1, 20480, 50, 2)
    assert batch.events.mask.all()
    assert batch.events.weight.eq(1).all()
    assert batch.events.truth.dtype == torch.float64
    assert torch.equal(batch.events.hits[0, :, :, 1].float(), columns["absorber"])
    assert list(batch.design) == designs
    assert batch.design["gap_thickness"].shape == (20480, 1)
    assert torch.equal(batch.design_values()[:, 1].float(), columns["gap_thickness"])
    assert batch.design_values().unique(dim=0).shape[0] == 256
    # Energy that is deposited is at most the energy that came in.
    assert (batch.events.hits.sum((2, 3)) <= 1.0001 * batch.events.truth[..., 0]).all()


def test_fixed_hits_are_padded_or_cut_to_the_maximum(showers):
    columns = RootReader(showers, {"gap": "edep_gap"}).read().rows(0, 10)
    padded = EventAssembler([], ["gap"], maximum_hits=60)(columns).events
    assert padded.hits.shape == (1, 10, 60, 1)
    assert padded.mask.sum() == 500
    with pytest.raises(DataError, match="entry 0 has 50 hits and 10 of 10"):
        EventAssembler([], ["gap"], maximum_hits=20)(columns)
    cut = EventAssembler([], ["gap"], maximum_hits=20, overflow="truncate")(columns).events
    assert torch.equal(cut.hits[0, ..., 0], columns["gap"][:, :20])


def test_one_number_per_event_is_one_hit(muons):
    events = EventAssembler(["met"], ["met", "mety"])(muons).events
    assert events.hits.shape == (1, 2421, 1, 2)
    assert EventAssembler(["met"], [])(muons).events.hits.shape == (1, 2421, 0, 0)


def test_what_does_not_fit_is_named(muons):
    with pytest.raises(ShapeError, match=r"jet: .*as many hits per event as 'px'"):
        EventAssembler(["met"], ["px", "jet"])(muons)
    with pytest.raises(DataError, match=r"hits: columns have shapes .*'px': 'jagged', 'met': "):
        EventAssembler(["met"], ["px", "met"])(muons)
    with pytest.raises(DataError, match="truth: column 'px' is jagged"):
        EventAssembler(["px"], ["px"])(muons)
    with pytest.raises(ConfigurationError, match="column: got 'zzz', expected one of px"):
        EventAssembler(["zzz"], ["px"])(muons)
    two = Columns({"w": torch.ones(3, 2), "h": Ragged(torch.ones(3), torch.arange(4))}, torch.arange(3))
    with pytest.raises(DataError, match="'w' has 2 values per event; expected one"):
        EventAssembler([], ["h"], weight="w")(two)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"truth": "met"}, "truth"),
        ({"overflow": "cut"}, "overflow"),
        ({"maximum_hits": 0}, "maximum_hits"),
    ],
)
def test_bad_settings(settings, key):
    with pytest.raises(ConfigurationError, match=f"^{key}: got"):
        EventAssembler(**{"truth": ["met"], "hits": ["px"], **settings})
