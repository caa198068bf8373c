"""What is written is what is read."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from mode_opt.data import EventAssembler, EventWriter, RootReader, read_metadata, write_events
from mode_opt.errors import ConfigurationError, DataError, ShapeError
from mode_opt.events import Events

TRUTH, HITS = ["energy", "angle"], ["x", "e", "t"]


def some_events(designs=2, count=5, width=4, dtype=torch.float32, recorded=True, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    counts = torch.randint(0, width + 1, (designs, count), generator=generator)
    mask = torch.arange(width) < counts[..., None]
    hits = normal(designs, count, width, len(HITS)) * mask[..., None]
    probability = normal(designs, count) if recorded else None
    return Events(normal(designs, count, 2), hits, mask, normal(designs, count), probability)


def read_back(path, width, dtype, log_probability=None, design=()):
    names = [*TRUTH, *HITS, "weight", *design, *([log_probability] if log_probability else [])]
    settings = {"weight": "weight", "log_probability": log_probability, "design": design}
    return EventAssembler(TRUTH, HITS, maximum_hits=width, dtype=dtype, **settings)(RootReader(path, names).read())


@settings(deadline=None, max_examples=25)
@given(
    designs=st.integers(1, 3),
    count=st.integers(1, 6),
    width=st.integers(1, 5),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    recorded=st.booleans(),
    jagged=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_round_trip(designs, count, width, dtype, recorded, jagged, seed):
    events = some_events(designs, count, width, dtype, recorded, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sub" / "events.root"
        design = {"gap": torch.arange(1.0, designs + 1)[:, None], "widths": torch.rand(1, 3)}
        write_events(path, events, TRUTH, HITS, design=design, jagged=jagged)
        assert [file.name for file in path.parent.iterdir()] == ["events.root"]
        back, columns = read_back(path, width, dtype, "log_probability" if recorded else None, ["gap", "widths"])
    rows = (1, designs * count)
    assert torch.equal(back.truth, events.truth.reshape(*rows, 2))
    assert torch.equal(back.hits, events.hits.reshape(*rows, width, 3))
    assert torch.equal(back.weight, events.weight.reshape(rows))
    if jagged:
        assert torch.equal(back.mask, events.mask.reshape(*rows, width))
    if recorded:
        assert torch.equal(back.log_probability, events.log_probability.reshape(rows))
    assert torch.equal(columns["gap"][:, 0], design["gap"].repeat_interleave(count).to(dtype))
    assert torch.equal(columns["widths"], design["widths"].expand(designs * count, 3).to(dtype))


def test_what_uproot_sees(tmp_path):
    events = some_events(designs=2, count=3)
    write_events(tmp_path / "e.root", events, TRUTH, HITS, metadata={"seed": 3, "unit": "MeV"}, tree="sim")
    with uproot.open(tmp_path / "e.root") as file:
        assert file.classnames() == {"sim;1": "TTree", "metadata;1": "TObjString"}
        names = ["energy", "angle", "weight", "log_probability", "design_index", "nhits", *HITS]
        assert sorted(file["sim"].keys()) == sorted(names)
        assert file["sim"]["x"].typename == "float[]"
        assert file["sim"]["design_index"].array().tolist() == [0, 0, 0, 1, 1, 1]
        assert file["sim"]["nhits"].array().tolist() == events.mask.sum(2).flatten().tolist()
    assert read_metadata(tmp_path / "e.root") == {"seed": 3, "unit": "MeV"}


def test_holes_in_the_mask_close_and_derivatives_are_left_behind(tmp_path):
    hits = torch.arange(6.0).reshape(1, 1, 3, 2).requires_grad_()
    mask = torch.tensor([[[True, False, True]]])
    write_events(tmp_path / "e.root", Events.of(torch.ones(1, 1, 1), hits, mask), ["t"], ["a", "b"])
    columns = RootReader(tmp_path / "e.root", ["a", "b"]).read()
    assert columns["a"].values.tolist() == [0, 4]
    assert columns["b"].values.tolist() == [1, 5]


def test_events_piece_by_piece(tmp_path):
    pieces = [some_events(designs=1, count=count, seed=count) for count in (3, 150_000, 1)]
    pieces[2] = Events(pieces[2].truth, pieces[2].hits * 0, pieces[2].mask & False, pieces[2].weight, torch.zeros(1, 1))
    with EventWriter(tmp_path / "e.root", TRUTH, HITS) as writer:
        for piece in pieces:
            writer.write(piece)
        assert not (tmp_path / "e.root").exists()
    assert writer.entries == 150_004
    back, _ = read_back(tmp_path / "e.root", 4, torch.float32)
    whole = Events.cat(pieces)
    assert torch.equal(back.hits, whole.hits)
    assert torch.equal(back.truth, whole.truth)


def test_without_hits(tmp_path):
    events = Events.of(torch.ones(1, 4, 1), torch.zeros(1, 4, 0, 0))
    write_events(tmp_path / "e.root", events, ["energy"], [])
    assert RootReader(tmp_path / "e.root", ["energy"]).read()["energy"].tolist() == [1, 1, 1, 1]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "e.root"
    write_events(path, some_events(count=2), TRUTH, HITS)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), EventWriter(path, TRUTH, HITS) as writer:
        writer.write(some_events())
        raise ZeroDivisionError
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_refused(tmp_path):
    events = some_events()
    path = tmp_path / "e.root"
    with pytest.raises(ShapeError, match=r"events\.truth: .*1 features"):
        write_events(path, events, ["energy"], HITS)
    with pytest.raises(ShapeError, match=r"events\.hits: .*1 features"):
        write_events(path, events, TRUTH, ["x"])
    with pytest.raises(ConfigurationError, match="names: got 'x'"):
        write_events(path, events, ["x", "y"], HITS)
    with pytest.raises(ConfigurationError, match="names: got 'weight'"):
        EventWriter(path, ["weight"], HITS)
    with pytest.raises(ConfigurationError, match="names: got 'energy'"):
        write_events(path, events, TRUTH, HITS, design={"energy": torch.ones(2, 1)})
    with pytest.raises(ShapeError, match=r"design\.gap: .*b x size with b = 2"):
        write_events(path, events, TRUTH, HITS, design={"gap": torch.ones(3, 1)})
    with pytest.raises(DataError, match=r"e\.root: no events to write"), EventWriter(path, TRUTH, HITS):
        pass
    with (
        pytest.raises(ConfigurationError, match="branches of the first piece"),
        EventWriter(path, TRUTH, HITS) as writer,
    ):
        writer.write(events)
        writer.write(some_events(recorded=False))
    with pytest.raises(DataError, match="with statement"):
        EventWriter(path, TRUTH, HITS).write(events)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write_events(tmp_path / "file" / "e.root", events, TRUTH, HITS)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file"]


def test_metadata_of_others(hzz, tmp_path):
    with pytest.raises(DataError, match=r"HZZ\.root: no metadata"):
        read_metadata(hzz)
    with pytest.raises(DataError, match=r"nothing\.root: no metadata"):
        read_metadata(tmp_path / "nothing.root")


def test_numbers_of_other_programs(tmp_path):
    """A file as a simulation in C++ writes it: integers, counters, big trees of doubles."""
    with uproot.recreate(tmp_path / "g4.root") as file:
        file.mktree("hits", {"event": "i8", "edep": "var * float64", "copy": "var * int32"})
        file["hits"].extend({"event": np.arange(3), "edep": [[1.5], [], [2.5, 0.5]], "copy": [[7], [], [8, 9]]})
    path = tmp_path / "g4.root"
    columns = RootReader(path, {"id": "event", "e": {"expression": "edep", "unit": "keV"}, "cell": "copy"}).read()
    events = EventAssembler(["id"], ["e", "cell"])(columns).events
    assert torch.allclose(events.hits[0, 2], torch.tensor([[0.0025, 8], [0.0005, 9]]))
