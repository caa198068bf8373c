"""docs/tuning.md does what it says: its blocks run one after the other, its numbers are those that are found."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from mode_opt.cli.build import detector_of
from mode_opt.cli.compose import composed

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tuning.md").read_text()
BLOCKS = dict(re.findall(r"<!-- (\w+) -->\n```\w+\n(.*?)```", PAGE, re.S))


def test_the_page_from_reading_to_checking(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert list(BLOCKS) == ["read", "simulate", "tune", "compare", "commands"]
    printed: list[tuple[Any, ...]] = []
    space: dict[str, Any] = {"print": lambda *words: printed.append(words)}
    for name in ("read", "simulate", "tune", "compare"):
        code = BLOCKS[name].replace(
            "tune(experiment)", "tune(experiment, samples=8, toys=8, events=2048, repetitions=3)"
        )
        exec(compile(code, f"tuning.md: {name}", "exec"), space)
    assert printed[0][0] == 445 and printed[0][2] == pytest.approx(90_459.94, abs=0.01)
    tuned, (scale, resolution) = space["tuned"], space["fit"].values[0].tolist()
    assert tuned.names == ("scale", "resolution") and str(tuned) == str(printed[1][0])
    assert abs(float(tuned.values[0]) - scale) < 0.0025 and abs(float(tuned.values[1]) - resolution) < 0.006
    assert 0.0008 < float(tuned.errors[0]) < 0.005 and 0.0015 < float(tuned.errors[1]) < 0.01
    assert printed[3][1] == pytest.approx(1 / 1.008044, abs=1e-6)
    assert tuned.probability > 0


def test_the_commands_are_understood():
    """They name what exists; `tests/detectors/z_resolution` carries the first of them out."""
    lines = [shlex.split(line)[1:] for line in BLOCKS["commands"].splitlines()]
    assert [words[0] for words in lines] == ["optimise", "gradients"]
    for (_, *words), name in zip(lines, ("config", "gradients"), strict=True):
        some = [word for word in words if not word.startswith("hydra.")]
        assert detector_of(composed([*some, "run_directory=run"], name)).name == "z_resolution"


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#]+)\)", PAGE))
def test_links_lead_somewhere(path):
    assert (ROOT / "docs" / path).exists(), path
