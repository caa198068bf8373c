"""Jobs are named by their content, and travel as arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mode_opt.campaigns import Job, seed_of
from mode_opt.errors import ConfigurationError, DataError

NAMES = st.text(min_size=1, max_size=8).filter(lambda text: "\x00" not in text and "/" not in text)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(NUMBERS, st.integers(-(10**9), 10**9), st.text(max_size=6), st.lists(NUMBERS, max_size=3))
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)


@st.composite
def jobs(draw):
    events = draw(st.integers(1, 4))
    kind = st.sampled_from(["<f8", "<f4", "<i8"])
    column = st.tuples(kind, st.lists(st.integers(-100, 100), min_size=events, max_size=events))
    primaries = draw(st.dictionaries(st.sampled_from(["energy", "x", "a b", "é"]), column, max_size=2))
    return Job(
        draw(DIGESTS),
        draw(st.dictionaries(NAMES, VALUES, max_size=3)),
        events,
        draw(st.integers(1, 2**31 - 2)),
        {name: np.array(values, dtype) for name, (dtype, values) in primaries.items()},
    )


def fields(job):
    return {"work": job.work, "design": job.design, "events": job.events, "seed": job.seed, "primaries": job.primaries}


@given(jobs())
def test_what_is_packed_comes_back(job):
    for back in (Job.unpack(job.pack()), Job.from_bytes(job.to_bytes())):
        assert back.key == job.key and back.design == dict(job.design)
        assert (back.work, back.events, back.seed) == (job.work, job.events, job.seed)
        assert all(np.array_equal(back.primaries[name], job.primaries[name]) for name in job.primaries)


@given(jobs(), st.data())
def test_any_change_of_any_field_changes_the_key(job, data):
    design = dict(job.design)
    design[data.draw(NAMES.filter(lambda name: name not in job.design))] = data.draw(VALUES)
    changes = [
        {"work": data.draw(DIGESTS.filter(lambda digest: digest != job.work))},
        {"design": design},
        {"seed": job.seed % (2**31 - 2) + 1},
        {"primaries": {**job.primaries, "one more": np.zeros(job.events)}},
    ]
    if not job.primaries:
        changes.append({"events": job.events + 1})
    for name, column in job.primaries.items():
        changed = column.copy()
        changed[data.draw(st.integers(0, job.events - 1))] += 1
        others = {other: values for other, values in job.primaries.items() if other != name}
        changes += [{"primaries": others | {name: changed}}, {"primaries": others | {f"{name}'": column}}]
        changes += [{"primaries": others | {name: column.reshape(-1, 1)}}, {"primaries": others}]
        changes += [{"primaries": others | {name: column.astype("<i2")}}]
    keys = [Job(**fields(job) | change).key for change in changes]
    assert job.key not in keys and len(set(keys)) == len(keys)


@given(jobs())
def test_the_order_of_names_does_not_matter(job):
    design, primaries = dict(reversed(job.design.items())), dict(reversed(job.primaries.items()))
    assert Job(job.work, design, job.events, job.seed, primaries).key == job.key


def test_columns_cannot_be_shifted_between_names_and_bytes():
    one = Job("ab", {}, 1, 1, {"a": np.array([1.0]), "b": np.array([2.0])})
    other = Job("ab", {}, 1, 1, {"a": np.array([2.0]), "b": np.array([1.0])})
    assert one.key != other.key


def test_what_is_no_job_is_refused():
    with pytest.raises(ConfigurationError, match=r"job\.events"):
        Job("ab", {}, 0, 1)
    with pytest.raises(ConfigurationError, match=r"job\.primaries\.energy.*3 values"):
        Job("ab", {}, 3, 1, {"energy": np.ones(2)})
    with pytest.raises(ConfigurationError, match=r"job\.primaries\.energy.*numbers"):
        Job("ab", {}, 1, 1, {"energy": np.array([object()])})


@given(st.binary(max_size=200))
def test_bytes_that_are_no_job_are_a_data_error(content):
    with pytest.raises(DataError):
        Job.from_bytes(content)


@given(st.integers(0, 900), st.integers(0, 255))
def test_damaged_bytes_are_a_data_error_or_tell_by_their_key(position, value):
    job = Job("ab", {"gap": 1.5}, 2, 7, {"energy": np.array([1.0, 2.0])})
    content = bytearray(job.to_bytes())
    content[position % len(content)] = value
    try:
        back = Job.from_bytes(bytes(content))
    except DataError:
        return
    same = (back.design, back.events, back.seed) == (job.design, job.events, job.seed)
    same = same and {name: list(values) for name, values in back.primaries.items()} == {"energy": [1.0, 2.0]}
    assert same == (back.key == job.key)


def test_pickles_are_not_opened():
    import io

    buffer = io.BytesIO()
    np.savez(buffer, job=np.array([print], dtype=object))
    with pytest.raises(DataError, match="pickle"):
        Job.from_bytes(buffer.getvalue())


@given(st.integers(), st.lists(st.integers(0, 50), max_size=3))
def test_seeds_suit_every_generator(base, labels):
    seed = seed_of(base, *labels)
    assert 1 <= seed <= 2**31 - 2 and seed == seed_of(base, *labels)
    assert seed != seed_of(base, *labels, 0) and seed != seed_of(base + 1, *labels)
