"""Each format, jagged and fixed, whole and damaged."""

import re

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from mode_opt.campaigns import Failure, JobFailure
from mode_opt.errors import ConfigurationError
from mode_opt.simulation.programs.outputs import output_of

JAGGED = [[1.0, 2.0], [], [3.0]]
PADDED = np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 0.0]], np.float32)
MASK = np.array([[True, True], [False, False], [True, False]])
FIXED = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
WEIGHT = np.array([0.5, 1.0, 2.0])
FLAT, EVENT, COUNTS = np.array([1.0, 2.0, 3.0]), np.array([0, 0, 2]), np.array([2, 0, 1])


def text(path, header, *columns):
    rows = "\n".join(",".join(map(repr, map(float, row))) for row in zip(*columns, strict=True))
    path.write_text(f"{header}\n{rows}\n")


def write_root(path):
    with uproot.recreate(path) as file:
        jagged = {"e": ak.Array(JAGGED), "t": ak.Array(JAGGED) * 10}
        file["showers"] = {**jagged, "fixed": FIXED, "w": WEIGHT, "a": FIXED[:, 0], "b_1": FIXED[:, 1]}
        file["other"] = {"x": WEIGHT}


def write_parquet(path):
    records = [[{"e": e, "t": 10 * e} for e in row] for row in JAGGED]
    columns = {"e": JAGGED, "t": [[10 * e for e in row] for row in JAGGED], "hit": records, "w": WEIGHT}
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(FIXED.ravel()), 2)
    columns |= {"a": FIXED[:, 0], "b_1": FIXED[:, 1], "name": ["x", "y", "z"], "hole": [1.0, None, 2.0]}
    pq.write_table(pa.table(columns | {"fixed": fixed}), path)


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("showers")
        vlen = group.create_dataset("e", (3,), h5py.vlen_dtype(np.float64))
        later = group.create_dataset("t", (3,), h5py.vlen_dtype(np.float32))
        for k, row in enumerate(JAGGED):
            vlen[k], later[k] = np.array(row), 10 * np.array(row)
        group["fixed"], group["w"] = FIXED, WEIGHT
        group["cube"] = np.stack([FIXED, 10 * FIXED], axis=2)
        group["table"] = np.array(list(zip(EVENT, FLAT, strict=True)), [("event", "i4"), ("e", "f8")])
        group["name"] = np.array([b"x", b"y", b"z"])


def write_npz(path):
    cube = np.stack([FIXED, 10 * FIXED], axis=2)
    columns = {"fixed": FIXED, "w": WEIGHT, "cube": cube, "e": FLAT, "event": EVENT, "counts": COUNTS}
    np.savez(path, **columns, padded=FIXED, name=np.array(["x", "y", "z"]))


def read(folder, **given):
    return output_of(given).read(folder, 3)


def same(arrays, *features, mask=None):
    expected = np.stack(features, axis=2)
    np.testing.assert_array_equal(np.where(arrays["mask"][..., None], arrays["hits"], 0), expected)
    np.testing.assert_array_equal(arrays["mask"], np.ones(expected.shape[:2]) if mask is None else mask)
    assert arrays["hits"].dtype == np.float32


def failure(folder, **given):
    with pytest.raises(JobFailure) as caught:
        read(folder, **given)
    return caught.value


# Formats


def test_root(tmp_path):
    write_root(tmp_path / "a.root")
    tree = {"file": "a.root", "tree": "showers"}
    both = read(tmp_path, **tree, hits={"e": "e", "t": "2 * t"}, units={"e": "GeV"}, weight="w")
    same(both, 1000 * PADDED, 20 * PADDED, mask=MASK)
    np.testing.assert_array_equal(both["weight"], WEIGHT)
    same(read(tmp_path, **tree, hits={"e": "fixed"}), FIXED)
    same(read(tmp_path, **tree, hits={"e": ["a", "b_{1..1}"]}), FIXED)
    assert "tree" in failure(tmp_path, file="a.root", hits={"e": "e"}).message
    assert "other" in failure(tmp_path, file="a.root", tree="shower", hits={"e": "e"}).message


def test_parquet(tmp_path):
    write_parquet(tmp_path / "a.parquet")
    file = {"file": "a.parquet"}
    both = read(tmp_path, **file, hits={"e": "e", "t": "t"}, units={"e": "GeV"}, weight="w")
    same(both, 1000 * PADDED, 10 * PADDED, mask=MASK)
    np.testing.assert_array_equal(both["weight"], WEIGHT)
    same(read(tmp_path, **file, hits={"e": "hit.e", "t": "hit.t"}), PADDED, 10 * PADDED, mask=MASK)
    same(read(tmp_path, **file, hits={"e": "fixed"}), FIXED)
    same(read(tmp_path, **file, hits={"e": ["a", "b_1"]}), FIXED)
    for column, words in (("name", "not numbers"), ("hole", "missing values"), ("hit", "type"), ("hit.z", "no field")):
        found = failure(tmp_path, **file, hits={"e": column})
        assert found.kind is Failure.UNREADABLE and words in found.message


def test_hdf5(tmp_path):
    write_hdf5(tmp_path / "a.h5")
    file = {"file": "a.h5"}
    both = read(tmp_path, **file, hits={"e": "showers/e", "t": "showers/t"}, units={"e": "GeV"}, weight="showers/w")
    same(both, 1000 * PADDED, 10 * PADDED, mask=MASK)
    np.testing.assert_array_equal(both["weight"], WEIGHT)
    same(read(tmp_path, **file, hits={"e": "showers/fixed"}), FIXED)
    same(read(tmp_path, **file, hits={"e": "showers/cube[0]", "t": "showers/cube[1]"}), FIXED, 10 * FIXED)
    same(read(tmp_path, **file, hits={"e": "showers/table/e"}, event="showers/table/event"), PADDED, mask=MASK)
    for column in ("showers", "showers/name", "showers/none", "showers/cube", "showers/cube[2]", "showers/e/x"):
        assert failure(tmp_path, **file, hits={"e": column}).kind is Failure.UNREADABLE


def test_npz(tmp_path):
    write_npz(tmp_path / "a.npz")
    file = {"file": "a.npz"}
    found = read(tmp_path, **file, hits={"e": "cube[0]", "t": "cube[1]"}, units={"t": "cm"}, weight="w")
    same(found, FIXED, 100 * FIXED)
    np.testing.assert_array_equal(found["weight"], WEIGHT)
    same(read(tmp_path, **file, hits={"e": "e"}, event="event"), PADDED, mask=MASK)
    same(read(tmp_path, **file, hits={"e": "e"}, counts="counts"), PADDED, mask=MASK)
    same(read(tmp_path, **file, hits={"e": "padded"}, counts="counts"), np.array([[1, 2], [0, 0], [5, 0]]), mask=MASK)
    for column in ("name", "none", "cube", "cube[2]", "fixed[0][0]"):
        assert failure(tmp_path, **file, hits={"e": column}).kind is Failure.UNREADABLE


def test_npy(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([FIXED, 10 * FIXED], axis=2))
    same(read(tmp_path, file="a.npy", hits={"e": "data[0]", "t": "data[1]"}), FIXED, 10 * FIXED)
    np.save(tmp_path / "b.npy", FIXED)
    same(read(tmp_path, file="b.npy", hits={"e": "data"}), FIXED)
    np.save(tmp_path / "c.npy", np.array([(0, 1.0), (0, 2.0), (2, 3.0)], [("event", "i8"), ("e", "f4")]))
    same(read(tmp_path, file="c.npy", hits={"e": "e"}, event="event"), PADDED, mask=MASK)
    np.save(tmp_path / "d.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert failure(tmp_path, file="d.npy", hits={"e": "data"}).kind is Failure.UNREADABLE


def test_csv(tmp_path):
    text(tmp_path / "a.csv", "e_0,e_1,w", *FIXED.T, WEIGHT)
    found = read(tmp_path, file="a.csv", hits={"e": "e_{0..1}"}, units={"e": "GeV"}, weight="w")
    same(found, 1000 * FIXED)
    np.testing.assert_array_equal(found["weight"], WEIGHT)
    text(tmp_path / "b.csv", "event,e,t", EVENT + 1, FLAT, 10 * FLAT)
    hits = {"e": "e", "t": "t"}
    same(read(tmp_path, file="b.csv", hits=hits, event="event", first_event=1), PADDED, 10 * PADDED, mask=MASK)
    assert failure(tmp_path, file="b.csv", hits=hits, event="event").kind is Failure.COUNT
    assert failure(tmp_path, file="b.csv", hits=hits, event="w").kind is Failure.UNREADABLE
    assert "there are event, e, t" in failure(tmp_path, file="b.csv", hits={"e": "E"}).message


def test_hits_of_events_in_any_order(tmp_path):
    text(tmp_path / "a.csv", "event,e", [2, 0, 0], [3, 1, 2])
    same(read(tmp_path, file="a.csv", hits={"e": "e"}, event="event"), PADDED, mask=MASK)
    (tmp_path / "b.csv").write_text("event,e\n")
    empty = read(tmp_path, file="b.csv", hits={"e": "e"}, event="event")
    assert empty["hits"].shape == (3, 1, 1) and not empty["mask"].any()


def test_relatives_of_csv(tmp_path):
    (tmp_path / "a.txt").write_text("#class tools::wcsv::ntuple\n#column double e\n1;x\n3;y\n5;z\n")
    given = {"file": "a.txt", "format": "csv", "separator": ";", "columns": ["e", "name"]}
    same(read(tmp_path, **given, hits={"e": "e"}), FIXED[:, :1])
    assert failure(tmp_path, **given, hits={"e": "name"}).kind is Failure.UNREADABLE
    (tmp_path / "b.txt").write_text(' "e"   t\r\n1  10\r\n3 30\r\n 5    50\r\n')
    given = {"file": "b.txt", "format": "csv", "separator": " "}
    same(read(tmp_path, **given, hits={"e": "e", "t": "t"}), FIXED[:, :1], 10 * FIXED[:, :1])


def test_patterns(tmp_path):
    (tmp_path / "stdout.txt").write_text("start\nevent 0: E = 1.5e0 MeV\nevent 1: E = 2 MeV\nevent 2: E = -3 MeV\n")
    pattern = r"^event (\d+): E = (?P<energy>\S+) MeV$"
    one = np.array([[1.5], [2], [-3]])
    same(read(tmp_path, pattern=pattern, hits={"e": "energy"}), one)
    same(read(tmp_path, pattern=pattern, hits={"e": 2}, event="1", units={"e": "keV"}), (one * 1e-3).astype(np.float32))
    (tmp_path / "log.dat").write_text("hits: 1, 2\nhits: \nhits: 3\n")
    same(read(tmp_path, file="log.dat", pattern="^hits: (.*)$", hits={"e": "1"}), PADDED, mask=MASK)
    assert "could not convert" in failure(tmp_path, pattern="(event)", hits={"e": "1"}).message
    assert len(output_of({"pattern": "none (x)", "hits": {"e": "1"}}).read(tmp_path, 3)["hits"]) == 0


# What is missing or damaged


WRITERS = {
    "a.root": (write_root, {"tree": "showers", "hits": {"e": "e"}}),
    "a.parquet": (write_parquet, {"hits": {"e": "e"}}),
    "a.h5": (write_hdf5, {"hits": {"e": "showers/fixed"}}),
    "a.npz": (write_npz, {"hits": {"e": "fixed"}}),
    "a.npy": (lambda path: np.save(path, FIXED), {"hits": {"e": "data"}}),
    "a.csv": (lambda path: text(path, "e", WEIGHT), {"hits": {"e": "e"}}),
    "a.txt": (lambda path: path.write_text("e=1\ne=2\ne=3\n"), {"pattern": "e=(.*)", "hits": {"e": "1"}}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_not_there(tmp_path, name):
    _, given = WRITERS[name]
    (tmp_path / "other.dat").touch()
    found = failure(tmp_path, file=name, **given)
    assert found.kind is Failure.MISSING
    assert name in found.message and "other.dat" in found.message


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_cut_short(tmp_path, name):
    write, given = WRITERS[name]
    path = tmp_path / name
    write(path)
    assert len(read(tmp_path, file=name, **given)["hits"]) == 3
    content = path.read_bytes()
    for size in {len(content) - 1, 2 * len(content) // 3, len(content) // 3, 10, 1} - {len(content)}:
        if content[:size].endswith(b"\n"):  # whole lines are whole events: the campaign counts them
            continue
        path.write_bytes(content[:size])
        found = failure(tmp_path, file=name, **given)
        assert found.kind is Failure.UNREADABLE, size
        assert str(tmp_path) not in found.message


@pytest.mark.parametrize("name", WRITERS)
def test_garbage(tmp_path, name):
    _, given = WRITERS[name]
    generator = np.random.default_rng(1)
    for content in (generator.bytes(3000), b"Segmentation fault (core dumped)\n" * 50 + b"e=x\n", b"\n" * 99 + b"\0"):
        (tmp_path / name).write_bytes(content)
        try:
            events = len(read(tmp_path, file=name, **given)["hits"])
        except JobFailure as found:
            assert found.kind is Failure.UNREADABLE
        else:
            assert name == "a.txt" and events == 0  # no match: the campaign misses the events


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "a.txt"])
def test_an_empty_file_and_a_missing_column(tmp_path, name):
    write, given = WRITERS[name]
    (tmp_path / name).touch()
    assert failure(tmp_path, file=name, **given).kind is Failure.UNREADABLE
    write(tmp_path / name)
    found = failure(tmp_path, file=name, **given | {"hits": {"e": "nothing"}})
    assert found.kind is Failure.UNREADABLE and "nothing" in found.message


def test_a_csv_with_a_hole_or_text(tmp_path):
    for row in ("1", "1,", "1,x", "1,2,3", "nonsense"):
        (tmp_path / "a.csv").write_text(f"e,t\n1,2\n{row}\n3,4\n")
        assert failure(tmp_path, file="a.csv", hits={"e": "e", "t": "t"}).kind is Failure.UNREADABLE


def test_features_with_different_hits(tmp_path):
    write_root(tmp_path / "a.root")
    found = failure(tmp_path, file="a.root", tree="showers", hits={"e": "e", "f": "fixed"})
    assert "f has other hits than e (6 in 3 events against 3 in 3 events)" in found.message
    assert failure(tmp_path, file="a.root", tree="showers", hits={"e": ["e", "a"]}).kind is Failure.UNREADABLE
    assert failure(tmp_path, file="a.root", tree="showers", hits={"e": "a"}, weight="e").kind is Failure.UNREADABLE


def test_counts_that_do_not_fit(tmp_path):
    columns = {"e": FLAT, "fixed": FIXED, "many": COUNTS + 5, "half": COUNTS + 0.5, "few": COUNTS[:2]}
    np.savez(tmp_path / "a.npz", **columns, negative=COUNTS - 1)
    for counts in ("many", "half", "negative"):
        assert failure(tmp_path, file="a.npz", hits={"e": "e"}, counts=counts).kind is Failure.UNREADABLE
    for counts in ("many", "few", "negative"):
        assert failure(tmp_path, file="a.npz", hits={"e": "fixed"}, counts=counts).kind is Failure.UNREADABLE


# Descriptions


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("a.csv", "mapping"),
        ({"file": "a.csv"}, "key hits"),
        ({"file": "a.csv", "hits": {}}, "features"),
        ({"file": "a.csv", "hits": {"e": []}}, "name of a column"),
        ({"file": "a.csv", "hits": {"e": "e_{3..1}"}}, "range that rises"),
        ({"file": "a.dat", "hits": {"e": "e"}}, "one of root, parquet"),
        ({"file": "a.csv", "format": "xls", "hits": {"e": "e"}}, "one of root, parquet"),
        ({"file": "../a.csv", "hits": {"e": "e"}}, "relative"),
        ({"file": "/a.csv", "hits": {"e": "e"}}, "relative"),
        ({"file": "log.txt", "format": "csv", "hits": {"e": "e"}}, "none of"),
        ({"file": 3, "hits": {"e": "e"}}, "name of a file"),
        ({"file": "a.csv", "tree": "t", "hits": {"e": "e"}}, "keys of the format csv"),
        ({"file": "a.csv", "hits": {"e": "e"}, "units": {"x": "mm"}}, "one of e"),
        ({"file": "a.csv", "hits": {"e": "e"}, "units": {"e": "moon"}}, "known unit"),
        ({"file": "a.csv", "hits": {"e": "e"}, "event": "i", "weight": "w"}, "null where"),
        ({"file": "a.csv", "hits": {"e": "e"}, "columns": ["x"]}, "columns among x"),
        ({"file": "a.csv", "hits": {"e": "e"}, "columns": "x"}, "list of names"),
        ({"file": "a.csv", "hits": {"e": "e"}, "separator": "::"}, "one character"),
        ({"pattern": "(", "hits": {"e": "1"}}, "regular expression"),
        ({"pattern": "x", "hits": {"e": "1"}}, "group"),
        ({"pattern": "(x)", "hits": {"e": "2"}}, "columns among 1"),
    ],
)
def test_what_an_output_cannot_be(given, words):
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        output_of(given)


def test_ranges_of_names(tmp_path):
    names = [f"l{i}_c{k}" for i in range(9, 11) for k in range(2)]
    text(tmp_path / "a.csv", ",".join(reversed(names)), *(np.full(3, k) for k in range(4)))
    same(read(tmp_path, file="a.csv", hits={"e": "l{9..10}_c{0..1}"}), np.tile([3, 2, 1, 0], (3, 1)))


@pytest.mark.parametrize(("name", "module"), [("a.parquet", "pyarrow.parquet"), ("a.h5", "h5py")])
def test_what_is_not_installed(tmp_path, monkeypatch, name, module):
    (tmp_path / name).touch()
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ConfigurationError, match=r"pip install mode-opt\["):
        read(tmp_path, file=name, hits={"e": "e"})
