"""Facts of real files (docs: tests/data/files/README.md), however they are read."""

import shutil

import numpy as np
import pytest
import torch

from mode_opt.data import Branch, Columns, RootReader
from mode_opt.errors import ConfigurationError


def angle_difference(a, b):
    return (a - b + torch.pi) % (2 * torch.pi) - torch.pi


@pytest.mark.parametrize("chunk_entries", [None, 100, 5000])
@pytest.mark.parametrize("threads", [0, 2])
def test_muons_of_hzz(hzz, chunk_entries, threads):
    branches = {"pt": "sqrt(Muon_Px**2 + Muon_Py**2)", "weight": "EventWeight", "n": "NMuon"}
    columns = RootReader(hzz, branches, chunk_entries=chunk_entries, threads=threads).read()
    assert len(columns) == 2421
    assert columns["pt"].values.numel() == 3825
    assert torch.bincount(columns["pt"].counts).tolist() == [59, 949, 1371, 34, 8]
    assert torch.equal(columns["pt"].counts, columns["n"].long())
    assert columns["pt"].values.double().mean().item() == pytest.approx(52.286739, abs=1e-6)
    assert columns["weight"].double().sum().item() == pytest.approx(16.922522, abs=1e-6)
    assert torch.equal(columns.entry, torch.arange(2421))
    assert columns["pt"].values.dtype == torch.float32


def test_muons_of_the_rntuple(dimuons):
    columns = RootReader(dimuons, ["nMuon", "Muon_pt", "_collection0.Muon_charge"], chunk_entries=300).read()
    assert len(columns) == 1000
    assert columns["nMuon"].sum() == 2372
    assert columns["Muon_pt"].values.double().mean().item() == pytest.approx(18.953633, abs=1e-6)
    pairs = columns["nMuon"].eq(2)
    charge, _ = columns["_collection0.Muon_charge"].pad()
    assert (pairs & (charge[:, :2].prod(1) == -1)).sum() == 415


def test_strips_of_the_geant4_run(geant4):
    columns = RootReader(f"{geant4}:HitStrips", {"energy": "Energy", "layer": "Laystrip // 1000000"}).read()
    assert len(columns) == 4808
    assert columns["energy"].double().sum().item() == pytest.approx(7196.726, abs=1e-3)
    assert columns["energy"].double().mean().item() == pytest.approx(1.49682, abs=1e-5)


def test_resolution_of_the_geant4_run(geant4):
    names = ["Event", "phi", "cot", "z"]
    reconstructed = RootReader(geant4, names, tree="TrackedRays").read()
    true = RootReader(geant4, names, tree="GeneratedTracks").read()
    order = torch.argsort(true["Event"])
    place = order[torch.searchsorted(true["Event"][order], reconstructed["Event"])]
    assert torch.equal(true["Event"][place], reconstructed["Event"])
    assert len(reconstructed) == 224
    for name, width in (("phi", 0.013017), ("cot", 0.026658), ("z", 0.004433)):
        residual = angle_difference(reconstructed["phi"], true["phi"][place])
        residual = residual if name == "phi" else reconstructed[name] - true[name][place]
        low, high = np.quantile(residual.double().numpy(), [0.16, 0.84])
        assert (high - low) / 2 == pytest.approx(width, rel=0.01)


def test_masses_of_zmumu_and_their_repetitions(zmumu):
    reader = RootReader(zmumu, {"mass": {"expression": "M", "unit": "GeV"}})
    assert reader.read()["mass"].mean().item() == pytest.approx(80205.934, rel=1e-7)
    once = reader.unique(["Run", "Event"])
    assert len(once.read()) == 500
    assert once.entries == 2304
    good = RootReader(zmumu, ["M", "Q1"], cut="(Type == 'GG') & (Q1 * Q2 < 0) & (M > 80) & (M < 100)")
    assert len(good.read()) == 445
    assert good.read()["M"].mean().item() == pytest.approx(90.4599, abs=1e-4)
    # The first that passes the cut, not the first of the file.
    pairs = RootReader(zmumu, ["Run", "Event"], cut="(Type == 'GG') & (Q1 * Q2 < 0)")
    events = {tuple(row) for row in zip(*(pairs.read()[name].tolist() for name in ("Run", "Event")), strict=True)}
    assert len(pairs.unique(["Run", "Event"]).read()) == len(events)


def test_layers_of_the_shower_scan(showers):
    columns = RootReader(showers, {"energy": "primary_energy", "gap": "edep_gap"}).read()
    assert columns["gap"].shape == (20480, 50)
    assert columns["gap"].dtype == torch.float32
    assert torch.equal(columns["energy"].unique(), torch.tensor([500.0, 1000, 2000, 5000, 10000]))


@pytest.mark.parametrize("value", ["M", Branch("M", "GeV"), {"expression": "M", "unit": "GeV"}])
def test_units(zmumu, value):
    plain = RootReader(zmumu, ["M"]).read()["M"]
    factor = 1.0 if isinstance(value, str) else 1000.0
    assert torch.equal(RootReader(zmumu, {"m": value}).read()["m"], plain * factor)


def test_units_of_jagged_and_angular_branches(hzz):
    branches = {"px": Branch("Muon_Px", "GeV"), "phi": Branch("180 + 0 * MET_px", "degree")}
    columns = RootReader(hzz, branches).read()
    plain = RootReader(hzz, ["Muon_Px"]).read()["Muon_Px"]
    assert torch.equal(columns["px"].values, plain.values * 1000)
    assert columns["px"].values.dtype == torch.float32
    assert torch.allclose(columns["phi"], torch.tensor(torch.pi))


def test_constants_are_columns(hzz):
    columns = RootReader(hzz, {"n": "NMuon", "one": "1.0"}).read()
    assert columns["one"].eq(1).all()
    with pytest.raises(ConfigurationError, match="at least one that reads a branch"):
        RootReader(hzz, {"one": "1.0"})


def test_several_files_are_one_sample(hzz, tmp_path):
    for name in ("a", "b", "c"):
        shutil.copy(hzz, tmp_path / f"{name}.root")
    reader = RootReader(f"{tmp_path}/*.root:events", ["EventWeight"], cut="NMuon == 2", chunk_entries=1000)
    columns = reader.read()
    assert reader.entries == 3 * 2421
    assert len(columns) == 3 * 1371
    assert torch.equal(columns.entry[1371:2742], columns.entry[:1371] + 2421)
    assert torch.equal(columns["EventWeight"][:1371], columns["EventWeight"][2742:])
    assert len(reader.unique(["EventWeight", "MET_px", "MET_py"]).read()) <= 1371


def test_split_by_range_has_no_overlap(hzz):
    reader = RootReader(hzz, ["NMuon"], cut="NMuon > 0", chunk_entries=500)
    train, test = reader.split(test=0.25)
    assert (train.entries, test.entries) == (1816, 605)
    joined = Columns.cat([train.read(), test.read()])
    assert torch.equal(joined.entry, reader.read().entry)
    inner, validation = train.split(test=0.5)
    assert (inner.entries, validation.entries) == (908, 908)


def test_split_by_event_keeps_repeated_rows_together(zmumu):
    reader = RootReader(zmumu, {"run": "Run", "Event": "Event"}, chunk_entries=700)
    sides = [side.read() for side in reader.split(test=0.2, by=["run", "Event"])]
    train, test = (set(zip(side["run"].tolist(), side["Event"].tolist(), strict=True)) for side in sides)
    assert not train & test
    assert len(train) + len(test) == 500
    # Binomial in the 500 events, 4 sigma.
    assert abs(len(test) - 100) < 4 * np.sqrt(500 * 0.2 * 0.8)
    assert torch.equal(torch.cat([side.entry for side in sides]).sort().values, torch.arange(2304))
    other = reader.split(test=0.2, by=["run", "Event"], seed=1)[1].read()
    assert not torch.equal(other.entry, sides[1].entry)


def test_split_by_design_keeps_designs_together(showers):
    reader = RootReader(showers, ["absorber_thickness", "gap_thickness"])
    sides = [side.read() for side in reader.split(test=0.1, by=reader.names)]
    designs = [set(zip(*(side[name].tolist() for name in reader.names), strict=True)) for side in sides]
    assert not designs[0] & designs[1]
    assert len(designs[0]) + len(designs[1]) == 256
    assert len(designs[1]) > 0


def test_bad_settings_are_refused_before_reading(hzz):
    with pytest.raises(ConfigurationError, match=r"branches\.x: got 3"):
        RootReader(hzz, {"x": 3})
    with pytest.raises(ConfigurationError, match=r"branches\.x: .*expression and unit"):
        RootReader(hzz, {"x": {"expression": "NMuon", "units": "mm"}})
    with pytest.raises(ConfigurationError, match="branches: got 'NMuon'"):
        RootReader(hzz, "NMuon")
    with pytest.raises(ConfigurationError, match="chunk_entries"):
        RootReader(hzz, ["NMuon"], chunk_entries=0)
    with pytest.raises(ConfigurationError, match=r"split\.test"):
        RootReader(hzz, ["NMuon"]).split(test=1.5)
    with pytest.raises(ConfigurationError, match=r"split\.by"):
        RootReader(hzz, ["NMuon"]).split(by="NMuon")
    with pytest.raises(ConfigurationError, match="column: got 'x', expected one of NMuon"):
        RootReader(hzz, ["NMuon"]).read()["x"]
