"""Fitted surrogates on disk, found again by the hash of all that they depend on."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mode_opt.surrogates.base import Surrogate
from mode_opt.surrogates.training import FitReport

LOG = logging.getLogger(__name__)


def cache_folder(folder: str | Path | None = None) -> Path:
    """The argument, else ``$MODE_OPT_CACHE``, else the platform's folder for the caches of a user."""
    if folder is not None:
        return Path(folder)
    if os.environ.get("MODE_OPT_CACHE"):
        return Path(os.environ["MODE_OPT_CACHE"])
    from platformdirs import user_cache_path

    return user_cache_path("mode_opt", appauthor=False)


def content_key(files: Mapping[str, str | Path], settings: Mapping[str, Any]) -> str:
    """32 hexadecimal digits that change with the content of any file and with any setting."""
    total = hashlib.sha256(json.dumps(settings, sort_keys=True, default=repr).encode())
    for name in sorted(files):
        with Path(files[name]).open("rb") as file:
            total.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:32]


def load_or_fit(
    surrogate: Surrogate, name: str, key: str, fit: Callable[[], FitReport], folder: str | Path | None = None
) -> FitReport:
    """Give the surrogate the cached weights and validation, or fit it and cache them.

    A file that cannot be used is replaced, and a folder that cannot be written left alone; the log says so.

    Args:
        surrogate: its weights and ``validation`` are set.
        name: for people; the file is ``name-key.pt``.
        key: of `content_key`, everything that the weights depend on.
        fit: fits and validates the surrogate; called only if nothing is cached.
        folder: as for `cache_folder`.
    """
    path = cache_folder(folder) / f"{name}-{key}.pt"
    report = _load(surrogate, path)
    if report is None:
        report = fit()
        _save(surrogate, report, path)
    return report


def _load(surrogate: Surrogate, path: Path) -> FitReport | None:
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        report = replace(FitReport(**content["report"]), cached=True)
        surrogate.load_state_dict(content["weights"])
        surrogate.validation = content["validation"]
    except Exception as error:
        # A broken file can fail in any way that unpickling can; the cure is the same.
        reason = " ".join(str(error).split())[:120]
        LOG.warning("%s: not a fitted surrogate (%s: %s); it is fitted again", path, type(error).__name__, reason)
        return None
    return report


def _save(surrogate: Surrogate, report: FitReport, path: Path) -> None:
    content = {
        "weights": surrogate.state_dict(),
        "report": report.asdict(),
        "validation": surrogate.validation,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written beside and renamed: nobody ever reads half a file.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".part", delete=False) as file:
            torch.save(content, file)
        Path(file.name).replace(path)
    except OSError as error:
        LOG.warning("%s: the fitted surrogate is not cached: %s", path, error)
