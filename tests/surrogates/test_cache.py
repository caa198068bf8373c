"""What is fitted once is found again; what is broken is fitted again."""

import logging
from pathlib import Path

import pytest
import torch

from mode_opt.surrogates import (
    CoarseToFine,
    DensitySurrogate,
    FitReport,
    PlainCoordinates,
    cache_folder,
    content_key,
    load_or_fit,
)


class Counter:
    """A fit that only counts, and sets weights one can recognise."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, surrogate: DensitySurrogate) -> FitReport:
        self.calls += 1
        surrogate.validation = {"title": "t", "rows": [], "notes": []}
        with torch.no_grad():
            for value in surrogate.parameters():
                value.fill_(0.25)
        return FitReport(3, 3, 1.0, 2.0, ((3, 1.0, 2.0),), 0.5)


def model() -> DensitySurrogate:
    return DensitySurrogate(PlainCoordinates((2, 1)), CoarseToFine((2,), 1, 4), 1)


def load(fit: Counter, folder: Path, key: str = "k") -> tuple[DensitySurrogate, FitReport]:
    surrogate = model()
    return surrogate, load_or_fit(surrogate, "toy", key, lambda: fit(surrogate), folder)


def test_the_second_time_nothing_is_fitted(tmp_path: Path) -> None:
    fit = Counter()
    (_, first), (second, report) = load(fit, tmp_path / "new"), load(fit, tmp_path / "new")
    assert fit.calls == 1 and report.cached and not first.cached
    assert report.history == first.history and second.validation == {"title": "t", "rows": [], "notes": []}
    assert all((value == 0.25).all() for value in second.parameters())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["toy-k.pt"]


def test_another_key_is_fitted_anew(tmp_path: Path) -> None:
    fit = Counter()
    load(fit, tmp_path), load(fit, tmp_path, "other")
    assert fit.calls == 2


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "other weights", "no weights"])
def test_a_broken_file_is_fitted_again_with_a_message(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit, path = Counter(), tmp_path / "toy-k.pt"
    load(fit, tmp_path)
    if damage in ("truncated", "garbage", "empty"):
        whole = path.read_bytes()
        path.write_bytes({"truncated": whole[: len(whole) // 2], "garbage": b"\x00" * 50, "empty": b""}[damage])
    else:
        torch.save({} if damage == "no weights" else torch.load(path) | {"weights": {"a": torch.ones(1)}}, path)
    with caplog.at_level(logging.WARNING):
        surrogate, report = load(fit, tmp_path)
    assert fit.calls == 2 and not report.cached and "fitted again" in caplog.text and str(path) in caplog.text
    assert load(fit, tmp_path)[1].cached and surrogate.validation


def test_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    fit = Counter()
    with caplog.at_level(logging.WARNING):
        surrogate, _ = load(fit, tmp_path / "file")
    assert surrogate.validation and "not cached" in caplog.text


def test_the_key_changes_with_content_and_settings(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    key = content_key({"data": tmp_path / "a"}, {"hidden": 48})
    assert key == content_key({"data": tmp_path / "b"}, {"hidden": 48}), "the place of a file does not matter"
    assert key != content_key({"data": tmp_path / "a"}, {"hidden": 49})
    (tmp_path / "a").write_text("2")
    assert key != content_key({"data": tmp_path / "a"}, {"hidden": 48})


def test_the_folder_is_argument_variable_or_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODE_OPT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path and cache_folder("here") == Path("here")
    monkeypatch.delenv("MODE_OPT_CACHE")
    assert cache_folder().name == "mode_opt"
