"""Expressions mean what they mean in uproot, for TTrees and RNTuples."""

import awkward as ak
import numpy as np
import pytest
import torch
import uproot

from mode_opt.data import Ragged, RootReader
from mode_opt.data.expressions import Expression
from mode_opt.errors import ConfigurationError, DataError

FLAT = [
    "MET_px",
    "sqrt(MET_px**2 + MET_py**2)",
    "where(MET_px > 0, MET_px, -MET_py) * 2 - 1",
    "arctan2(MET_py, MET_px) % 3 // 1",
    "(NMuon >= 2) & ~(NJet == 0) | triggerIsoMu24",
    "hypot(MET_px, get('MET_py'))",
    "log1p(abs(MET_px))",
]
JAGGED = ["Muon_Px", "sqrt(Muon_Px**2 + Muon_Py**2)", "Muon_E * EventWeight", "Muon_Charge * NMuon", "Jet_ID"]
CUT = "(NMuon == 2) & (MET > 20)"
ALIASES = {"MET": "sqrt(MET2)", "MET2": "MET_px**2 + MET_py**2"}


@pytest.mark.parametrize("cut", [None, CUT])
@pytest.mark.parametrize("text", FLAT + JAGGED)
def test_the_same_as_uproot_on_a_ttree(hzz, text, cut):
    ours = RootReader(hzz, {"x": text}, cut=cut, aliases=ALIASES).read()["x"]
    theirs = uproot.open(f"{hzz}:events").arrays([text], cut=cut, aliases=ALIASES)[text]
    values = ours.values if isinstance(ours, Ragged) else ours
    expected = ak.to_numpy(ak.flatten(theirs, axis=None))
    assert values.numpy().dtype == expected.dtype
    np.testing.assert_array_equal(values.numpy(), expected)
    if isinstance(ours, Ragged):
        np.testing.assert_array_equal(ours.counts.numpy(), ak.to_numpy(ak.num(theirs)))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same events as TTree and as RNTuple."""
    generator = np.random.default_rng(1)
    counts = generator.poisson(3, 1000)
    columns = {
        "energy": generator.exponential(5.0, 1000).astype(np.float32),
        "ncells": counts.astype(np.int32),
        "cell": ak.unflatten(generator.normal(size=counts.sum()), counts),
    }
    folder = tmp_path_factory.mktemp("both")
    with uproot.recreate(folder / "ttree.root") as file:
        types = {"energy": "f4", "ncells": "i4", "cell": "var * float64"}
        tree = file.mktree("events", types, counter_name=lambda name: "ncells")
        tree.extend(columns)
    with uproot.recreate(folder / "rntuple.root") as file:
        file.mkrntuple("events", columns)
    return folder / "ttree.root", folder / "rntuple.root"


@pytest.mark.parametrize("chunk_entries", [None, 170])
def test_rntuple_and_ttree_answer_alike(both, chunk_entries):
    branches = {"e": "root", "n": "ncells", "c": "cell / energy"}
    settings = {"aliases": {"root": "sqrt(energy)"}, "cut": "(root > 1.5) & (ncells != 2)"}
    answers = [RootReader(path, branches, chunk_entries=chunk_entries, **settings).read() for path in both]
    assert 0 < len(answers[0]) < 1000
    for ttree, rntuple in zip(*([each["e"], each["n"].long(), each["c"].values] for each in answers), strict=True):
        assert torch.equal(ttree, rntuple)
    assert torch.equal(answers[0].entry, answers[1].entry)
    assert torch.equal(answers[0]["c"].offsets, answers[1]["c"].offsets)


def test_cut_on_the_rntuple_is_not_ignored(dimuons):
    columns = RootReader(dimuons, {"n": "nMuon", "pt": "Muon_pt"}, cut="nMuon==2").read()
    assert len(columns) == 554
    assert columns["n"].eq(2).all()
    assert columns["pt"].counts.eq(2).all()


def test_flat_and_fixed_size_branches_meet_event_by_event(tmp_path):
    # A square case: aligning the last axes, as numpy does, would go unnoticed.
    layers = np.arange(9, dtype=np.float32).reshape(3, 3)
    with uproot.recreate(tmp_path / "x.root") as file:
        file.mktree("t", {"e": "f4", "layer": np.dtype((np.float32, (3,)))})
        file["t"].extend({"e": np.array([1, 2, 4], np.float32), "layer": layers})
    share = RootReader(tmp_path / "x.root", {"x": "layer / e"}).read()["x"]
    assert share.tolist() == [[0, 1, 2], [1.5, 2, 2.5], [1.5, 1.75, 2]]


def test_strings_select(zmumu):
    assert len(RootReader(zmumu, ["M"], cut="Type == 'GG'").read()) == 516
    masses = RootReader(zmumu, ["M"], cut="(pt1 > 25) & (pt2 > 25) & (Q1 * Q2 < 0)").read()["M"]
    assert len(masses) == 1832
    assert masses.mean().item() == pytest.approx(89.437943, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("a > 1 and b > 2", "& | ~ with parentheses"),
        ("not a", "& | ~ with parentheses"),
        ("1 < a < 3", "two by two, each in parentheses"),
        ("a > 1 & b < 2", "two by two, each in parentheses"),
        ("min(a)", "there is no 'min'"),
        ("a[0]", r"'a\[0\]' is neither"),
        ("(lambda: 1)()", "is neither"),
        ("a.b().c", "is neither"),
        ("a +", "an expression"),
        ("", "an expression over the branches"),
    ],
)
def test_what_is_no_expression_is_refused_with_advice(text, advice):
    with pytest.raises(ConfigurationError, match=f"^cut: got .*{advice}"):
        Expression(text, "cut").names({"a", "b"})


def test_a_branch_may_have_any_name():
    assert Expression("weird name [1]").names({"weird name [1]"}) == ["weird name [1]"]
    assert Expression("get('weird name') + jet.pt").names(set()) == ["weird name", "jet.pt"]


def test_aliases_in_a_circle_or_over_a_branch(hzz):
    with pytest.raises(ConfigurationError, match=r"aliases\.a: .*back to itself"):
        RootReader(hzz, ["a"], aliases={"a": "b + 1", "b": "a"})
    with pytest.raises(ConfigurationError, match=r"aliases\.NMuon: .*no branch"):
        RootReader(hzz, ["NMuon"], aliases={"NMuon": "NJet"})


def test_what_cannot_be_computed_says_why(hzz):
    with pytest.raises(DataError, match=r"uproot-HZZ\.root: tree 'events': branches\.x: 'Muon_Px \+ Jet_Px' cannot"):
        RootReader(hzz, {"x": "Muon_Px + Jet_Px"}).read()
    with pytest.raises(DataError, match="one true-or-false per entry"):
        RootReader(hzz, ["NMuon"], cut="Muon_Px > 10").read()
