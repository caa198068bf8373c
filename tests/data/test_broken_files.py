"""Files that do not hold what was asked of them: one sentence with file, branch and what is there instead."""

from pathlib import Path

import numpy as np
import pytest
import uproot

from mode_opt.data import RootReader
from mode_opt.errors import DataError


def test_missing_trees_and_branches(hzz, geant4, dimuons):
    with pytest.raises(DataError, match=r"HZZ\.root: no tree 'evnts'; trees there: events"):
        RootReader(f"{hzz}:evnts", ["NMuon"])
    with pytest.raises(DataError, match=r"geant4\.root: which tree.*Details, HitStrips, GeneratedTracks"):
        RootReader(geant4, ["Energy"])
    with pytest.raises(DataError, match="'edep_inner' is a TH1D, not a tree; trees there: Details"):
        RootReader(f"{geant4}:edep_inner", ["Energy"])
    with pytest.raises(DataError, match=r"HZZ\.root: no branch 'muon_px' in tree 'events'.*did you mean 'Muon_Px'"):
        RootReader(hzz, ["muon_px"])
    with pytest.raises(DataError, match=r"rntuple.*: no branch 'Moun_pt' in tree 'Events'.*did you mean 'Muon_pt'"):
        RootReader(dimuons, ["Moun_pt"])
    with pytest.raises(DataError, match=r"no branch 'zzz'.*; there are Electron_Charge, .*, \.\.\."):
        RootReader(hzz, ["zzz"])


@pytest.mark.parametrize("where", ["hzz", "dimuons"])
def test_unknown_columns_of_cut_aliases_and_keys(where, request):
    path = request.getfixturevalue(where)
    name = {"hzz": "NMuon", "dimuons": "nMuon"}[where]
    with pytest.raises(DataError, match=rf"no branch 'nmuon' .*needed by cut: 'nmuon==2'.*did you mean '{name}'"):
        RootReader(path, [name], cut="nmuon==2")
    with pytest.raises(DataError, match=r"no branch 'nothing' .*needed by branches\.x"):
        RootReader(path, {"x": "half"}, aliases={"half": "nothing / 2"})
    with pytest.raises(DataError, match=r"no branch 'Run' .*needed by split\.by"):
        RootReader(path, [name]).split(by=["Run"])


def test_no_entries(hzz, tmp_path):
    with uproot.recreate(tmp_path / "empty.root") as file:
        file.mktree("events", {"x": "f4"})
    with pytest.raises(DataError, match=r"empty\.root: tree 'events': no entries"):
        RootReader(tmp_path / "empty.root", ["x"]).read()
    with uproot.recreate(tmp_path / "none.root"):
        pass
    with pytest.raises(DataError, match=r"none\.root: holds no tree"):
        RootReader(tmp_path / "none.root", ["x"])
    reader = RootReader(hzz, ["NMuon"], cut="NMuon > 100")
    for read in (reader.read, lambda: list(reader.chunks()), lambda: list(reader.batches(10))):
        with pytest.raises(DataError, match=r"HZZ\.root: 0 of 2421 entries pass cut 'NMuon > 100'"):
            read()


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("where", ["hzz", "dimuons"])
def test_truncated_files(where, fraction, request, tmp_path):
    whole = Path(request.getfixturevalue(where)).read_bytes()
    path = tmp_path / "short.root"
    path.write_bytes(whole[: int(len(whole) * fraction)])
    expected = f"{path.name}: truncated, {int(len(whole) * fraction)} of {len(whole)} bytes"
    with pytest.raises(DataError, match=expected if fraction else r"short\.root: not a ROOT file \(0 bytes"):
        RootReader(path, ["NMuon" if where == "hzz" else "nMuon"])


def test_damaged_files(hzz, tmp_path):
    path = tmp_path / "text.root"
    path.write_text("no ROOT file, but long enough to be read")
    with pytest.raises(DataError, match=r"text\.root: not a ROOT file .*b'no R'"):
        RootReader(path, ["x"])
    whole = Path(hzz).read_bytes()
    with uproot.open(f"{hzz}:events") as tree:
        start, size = (int(tree["Muon_Px"].member(name)[0]) for name in ("fBasketSeek", "fBasketBytes"))
    path = tmp_path / "damaged.root"
    path.write_bytes(whole[: start + 100] + b"\0" * (size - 100) + whole[start + size :])
    reader = RootReader(path, ["Muon_Py", "Muon_Px"])
    with pytest.raises(DataError, match=r"damaged\.root: entries 0 to 2421 of Muon_Py, Muon_Px .*may be damaged"):
        reader.read()
    assert len(RootReader(path, ["Muon_Py"]).read()) == 2421
    path = tmp_path / "header.root"
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    with pytest.raises(DataError, match=r"header\.root: cannot be read; the file may be damaged"):
        RootReader(path, ["NMuon"])


@pytest.fixture
def holes(tmp_path):
    """Flat and jagged branches with NaN in entries 307 and 450."""
    flat = np.arange(1000, dtype=np.float32)
    flat[[307, 450]] = np.nan, np.inf
    with uproot.recreate(tmp_path / "holes.root") as file:
        file.mktree("events", {"ok": "f4", "bad": "f4", "n": "i4"})
        file["events"].extend({"ok": np.arange(1000, dtype=np.float32), "bad": flat, "n": np.arange(1000)})
    return tmp_path / "holes.root"


def test_nan_in_a_needed_branch(holes):
    reader = RootReader(holes, ["ok", "bad"], chunk_entries=400)
    message = r"holes\.root: tree 'events': branches\.bad \('bad'\): 1 of 400 values are NaN.*first in entry 307"
    with pytest.raises(DataError, match=message):
        reader.read()
    assert len(RootReader(holes, ["ok"]).read()) == 1000
    assert len(RootReader(holes, ["bad"], cut="isfinite(bad)").read()) == 998
    assert RootReader(holes, ["bad"], allow_non_finite=True).read()["bad"].isfinite().sum() == 998
    # The number of the entry in the file, also when earlier ones are cut away.
    with pytest.raises(DataError, match=r"1 of 149 values .*first in entry 450"):
        RootReader(holes, ["bad"], cut="(n > 310) & (n < 460)").read()


def test_nan_in_a_jagged_branch_names_the_event(hzz):
    with pytest.raises(DataError, match=r"log\(Muon_Px\).*1942 of 3825 values.*first in entry 0; replace"):
        RootReader(hzz, {"x": "log(Muon_Px)"}).read()
    large = RootReader(hzz, {"x": "Muon_Px * 0 + 3e38"}).read()["x"]
    assert large.values.isfinite().all()


def test_text_where_numbers_are_needed(zmumu):
    with pytest.raises(DataError, match=r"Zmumu\.root: tree 'events': branches\.Type \('Type'\) is of type .*string"):
        RootReader(zmumu, ["Type"]).read()
    with pytest.raises(DataError, match=r"split\.by: 'Type' is not one number per entry"):
        RootReader(zmumu, ["M"]).split(by=["Type"])[0].read()


def test_a_file_of_several_that_lacks_the_branch(hzz, zmumu):
    reader = RootReader([hzz, zmumu], ["NMuon"], tree="events")
    with pytest.raises(DataError, match=r"Zmumu\.root: no branch 'NMuon'"):
        reader.read()
