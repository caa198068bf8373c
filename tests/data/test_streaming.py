"""Chunks, batches and workers: every entry once, in bounded memory."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from mode_opt.data import Columns, EventAssembler, RootBatches, RootReader
from mode_opt.errors import ConfigurationError

HZZ = Path(__file__).parent / "files" / "uproot-HZZ.root"
HZZ_PAIRS = 1371


@settings(deadline=None, max_examples=15)
@given(chunk=st.integers(50, 3000), size=st.integers(1, 2500), drop_last=st.booleans())
def test_batches_have_constant_size_and_lose_nothing(chunk, size, drop_last):
    reader = RootReader(HZZ, ["Muon_Px", "EventWeight"], cut="NMuon == 2", chunk_entries=chunk)
    batches = list(reader.batches(size, drop_last))
    sizes = [len(batch) for batch in batches]
    full, rest = divmod(HZZ_PAIRS, size)
    assert sizes == [size] * full + ([rest] if rest and not drop_last else [])
    if batches:
        joined, whole = Columns.cat(batches), reader.read()
        assert torch.equal(joined.entry, whole.entry[: sum(sizes)])
        assert torch.equal(joined["Muon_Px"].values, whole["Muon_Px"].values[: 2 * sum(sizes)])
        assert joined["Muon_Px"].counts.eq(2).all()


@pytest.mark.parametrize("of", [1, 3, 7])
@pytest.mark.parametrize("where", ["hzz", "dimuons"])
def test_shards_are_the_whole(where, of, request):
    names = ["Muon_Px"] if where == "hzz" else ["Muon_pt"]
    reader = RootReader(request.getfixturevalue(where), names, chunk_entries=90)
    shards = [reader.shard(index, of) for index in range(of)]
    joined, whole = Columns.cat([shard.read() for shard in shards]), reader.read()
    assert torch.equal(joined.entry, whole.entry)
    assert torch.equal(joined[names[0]].values, whole[names[0]].values)
    with pytest.raises(ConfigurationError, match="0 <= index < of"):
        reader.shard(of, of)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_share_the_entries(hzz, workers):
    reader = RootReader([hzz], {"px": "Muon_Px", "n": "NMuon"}, cut="NMuon > 0", chunk_entries=300)
    batches = list(RootBatches(reader, 100).loader(workers))
    entries = torch.cat([batch.entry for batch in batches])
    whole = reader.read()
    assert torch.equal(entries.sort().values, whole.entry)
    pairs = {entry: total for batch in batches for entry, total in zip(batch.entry.tolist(), sums(batch), strict=True)}
    assert [pairs[entry] for entry in whole.entry.tolist()] == sums(whole)


def sums(columns):
    return columns["px"].pad(4)[0].sum(1).tolist()


def test_more_workers_than_passing_entries(hzz):
    # Few of 2421 entries pass: some shares are empty, which is no error of theirs.
    reader = RootReader(hzz, ["MET_px"], cut="NMuon == 4")
    expected = reader.read()
    assert len(expected) == 8
    entries = [batch.entry for index in range(20) for batch in reader.shard(index, 20).batches(2)]
    assert torch.equal(torch.cat(entries), expected.entry)


def test_ranks_and_assembled_batches(hzz):
    reader = RootReader(hzz, {"px": "Muon_Px", "met": "MET_px", "w": "EventWeight"})
    assemble = EventAssembler(["met"], ["px"], weight="w", maximum_hits=4)
    parts = [list(RootBatches(reader, 500, assemble, rank=rank, world=2).loader()) for rank in range(2)]
    weights = torch.cat([batch.events.weight[0] for part in parts for batch in part])
    assert torch.equal(weights, reader.read()["w"])
    assert all(batch.events.hits.shape[2:] == (4, 1) for part in parts for batch in part)
    with pytest.raises(ConfigurationError, match=r"rank: got 2, expected 0 to 1"):
        RootBatches(reader, 500, rank=2, world=2)
    with pytest.raises(ConfigurationError, match="batch_size"):
        RootBatches(reader, 0)


def test_a_batch_for_another_process_does_not_carry_its_chunk(hzz):
    batch = RootReader(hzz, ["Muon_Px"]).read().rows(5, 10).clone()
    assert batch["Muon_Px"].values.untyped_storage().nbytes() == 4 * batch["Muon_Px"].values.numel()


PEAK = """
    import sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from mode_opt.data import RootReader

    def peak():
        # Not ru_maxrss, which begins with the memory of the process that started this one.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    reader = RootReader(sys.argv[1], {f"x{i}": f"x{i}" for i in range(12)}, chunk_entries=50_000)
    chunks = reader.chunks()
    entries = len(next(chunks))
    before = peak()
    if sys.argv[2] == "stream":
        entries += sum(len(chunk) for chunk in chunks)
    else:
        entries = len(reader.read())
    print(entries, peak() - before)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """2.5e6 entries of 12 float32: 120 MB."""
    path = tmp_path_factory.mktemp("large") / "large.root"
    piece = {f"x{i}": np.full(50_000, i, np.float32) for i in range(12)}
    with uproot.recreate(path, compression=None) as file:
        tree = file.mktree("events", dict.fromkeys(piece, "f4"))
        for _ in range(50):
            tree.extend(piece)
    return path


def peak_growth(path, how):
    """MB by which the memory of a new process grows after the first chunk of 2.4 MB."""
    command = [sys.executable, "-c", textwrap.dedent(PEAK), str(path), how]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(answer[0]) == 2_500_000
    return int(answer[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux")
def test_memory_does_not_grow_with_the_file(large):
    # The file holds 120 MB in 50 chunks; a stream may not keep more than a few of them.
    assert peak_growth(large, "stream") < 30
    assert peak_growth(large, "read") > 100
