"""docs/black_box.md does what it says: its example finds the optimum, its commands run, its options exist."""

import inspect
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_object

from mode_opt import VerificationEffort
from mode_opt.cli import main
from mode_opt.gradients.local_search import GIVE_UP
from mode_opt.gradients.trust_region import TrustRegion

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "black_box.md").read_text()
LOCAL = ("local_surrogate", "local_regression")


def configured(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "conf" / "gradient" / f"{name}.yaml").read_text())


def test_the_example_is_short_and_finds_the_optimum():
    """E[x²] with x = (a + 2)(1 − lens/p) + b/5 + steering is least near lens = 1, where the offset of 2 drops out."""
    (code,) = re.findall(r"<!-- example -->\n```python\n(.*?)```", PAGE, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    space: dict[str, Any] = {
        "print": lambda outcome: space.update(outcome=outcome),
        "few": VerificationEffort(events=4000),
    }
    exec(compile(code.replace("steps=15", "steps=15, verification=few"), "black_box.md", "exec"), space)
    outcome = space["outcome"]
    found = {name: entry["value"] for name, entry in outcome.final.items()}
    assert found["lens"] == pytest.approx(1.0, abs=0.15) and found["steering"] == pytest.approx(0.0, abs=0.3)
    assert outcome.verification.final.value < 0.1 < 1.0 < outcome.verification.initial.value


def test_the_commands(tmp_path, monkeypatch, capfd):
    (text,) = re.findall(r"<!-- commands -->\n```bash\n(.*?)```", PAGE, re.S)
    commands = [shlex.split(line)[1:] for line in text.splitlines()]
    assert [words[:2] for words in commands[1:]] == [["optimise", "resume=first"], ["verify", "first"]]
    monkeypatch.chdir(tmp_path)
    for words, less in zip(commands, (("=3000", "=400"), ("=4000", "=800"), ("", "")), strict=True):
        changed = [word.replace(*less) if word.startswith("budget") else word for word in words]
        assert changed == words or less[0], "less effort than shown"
        assert main([*changed, "verification.events=1000", "quiet=true"]) == 0, capfd.readouterr().err
    result = json.loads((tmp_path / "first" / "result.json").read_text())
    assert result["gradient"] == "local_surrogate" and result["simulator_calls"] >= 800
    assert "Promises of the local model" in (tmp_path / "first" / "report.html").read_text()


@pytest.mark.parametrize("name", LOCAL)
def test_the_files_hold_the_defaults_of_the_constructors(name):
    """Also those within ``sampling`` and ``descent``; a null there stands for the defaults of their class."""

    def compare(node: dict[str, Any]) -> None:
        kind = get_object(node["_target_"])
        defaults = {key: p.default for key, p in inspect.signature(kind).parameters.items()}
        assert set(defaults) == set(node) - {"_target_"}
        for key, value in node.items():
            if isinstance(value, dict):
                compare(value)
            elif key not in ("_target_", "surrogate"):
                assert defaults[key] == value, (name, key)

    compare(configured(name))


def test_every_option_is_described():
    table = PAGE.split("| key | what it is |")[1].split("`gradient=local_regression` has")[0]
    named = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    node = configured("local_surrogate")
    within = [f"sampling.{key}" for key in node["sampling"]] + ["descent.events", ".steps", ".rate", ".method"]
    expected = {key for key in node if key not in ("_target_", "sampling", "descent")} | set(within)
    assert set(re.findall(r"`([\w.]+)`", named)) - {"sampling._target_"} == expected - {"sampling._target_"}
    families = PAGE.split("| `surrogate=` |")[1].split("All of them")[0]
    named = " ".join(line.split("|")[1] for line in families.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", named)) == {path.stem for path in (ROOT / "conf" / "surrogate").glob("*.yaml")}


def test_the_numbers_of_the_test_are_those_of_the_code():
    assert f"`A < −{TrustRegion.WORSE:g} σ`" in PAGE and f"`pull < −{TrustRegion.SURPRISE:g}`" in PAGE
    assert f"after {GIVE_UP} such batches in a row" in PAGE
