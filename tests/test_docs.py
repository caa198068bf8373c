"""Every block of docs/configuration.md does what the page says."""

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.utils import get_object

from mode_opt.cli import main
from mode_opt.cli.build import detector_of, experiment_of, settings_of
from mode_opt.cli.compose import built, composed
from mode_opt.cli.estimators import any_search
from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Experiment
from mode_opt.simulation import Promise

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
BLOCKS = re.findall(r"<!-- (\w+)(?:: (\w+))? -->\n```(\w+)\n(.*?)```", PAGE.read_text(), re.S)


def blocks(kind: str) -> dict[str, str]:
    return {name or str(k): text for k, (marker, name, _, text) in enumerate(BLOCKS) if marker == kind}


def commands(kind: str) -> list[list[str]]:
    return [shlex.split(line, comments=True)[1:] for text in blocks(kind).values() for line in text.splitlines()]


def test_every_block_is_marked():
    assert len(re.findall(r"^```\w", PAGE.read_text(), re.M)) == len(BLOCKS)
    languages = {
        "design": "yaml",
        "detector": "yaml",
        "python": "python",
        "command": "bash",
        "composed": "bash",
        "doctor": "bash",
    }
    assert all(languages[marker] == language for marker, _, language, _ in BLOCKS)


# Designs


def finals(design: Design) -> dict[str, Any]:
    return {name: entry["value"] for name, entry in design.concrete().items()}


def numbers(design: Design) -> None:
    assert finals(design) == pytest.approx({"gap": 2.5, "tail": 300, "foil": 20, "field": 1.5, "layers": 50})
    assert design()["foil"].item() == pytest.approx(0.02)  # mm
    assert design.free_names == ("gap", "tail", "foil", "layers")
    design.assign({"layers": 20.4})
    assert design()["layers"].item() == pytest.approx(20.4) and finals(design)["layers"] == 20
    assert float(design.point(torch.full_like(design.psi, 50.0))["gap"].detach()) <= 10.0


def arrays(design: Design) -> None:
    assert design()["gap"].shape == (1, 4) and design()["plane"].tolist() == [pytest.approx([100, 200, 300])]
    assert not design.nonlinear_constraints and all(c.satisfied for c in design.constraints_at().values())


def categorical(design: Design) -> None:
    assert design()["absorber"].tolist() == [pytest.approx([0.75, 0.25])] and finals(design)["absorber"] == "PbWO4"
    # 0.16 m2 x 50 x 4.5 mm = 0.036 m3 of mean price (0.75 30 + 0.25 2) EUR/kg, mean density 9.0475e3 kg/m3
    assert design()["cost"].item() == pytest.approx(23 * 9047.5 * 0.036, rel=1e-5)
    assert [c.name for c in design.nonlinear_constraints] == ["cost"]
    # built of lead it costs 2 EUR/kg x 11350 kg/m3 x 0.036 m3
    design.assign({"absorber": {"PbWO4": 0.0, "Pb": 1.0}})
    assert design.buildable()["cost"].item() == pytest.approx(2 * 11350 * 0.036, rel=1e-4)


def linked(design: Design) -> None:
    assert finals(design) == pytest.approx({"absorber": 3, "gap": 5}) and design.free_names == ("absorber",)
    for psi in (-50.0, 50.0):
        assert 2 <= float(design.point(torch.full_like(design.psi, psi))["gap"].detach()) <= 6


def conditional(design: Design) -> None:
    assert finals(design)["position"] == [pytest.approx(100), pytest.approx(200), pytest.approx(300), None, None]
    assert 0 < design()["position"][0, 3].item() < 100


def grid(design: Design) -> None:
    snapped = design.snapped()
    values = finals(snapped)
    assert values["plate"] % 0.5 == pytest.approx(0) and values["sheet"] in (0.3, 0.5, 1.0)
    assert values["plate"] + values["sheet"] + values["gap"] <= 8 and snapped.free_names == ("gap",)


def constraints(design: Design) -> None:
    assert [c.name for c in design.nonlinear_constraints] == ["tank"]
    values = design.constraints_at()
    assert not values["tank"].satisfied and values["tank"].unit == "cm^3"  # the start may violate it
    assert values["radius + length"].limit == 30 and values["radius + length"].unit == "cm"
    assert design()["aspect"].item() == pytest.approx(200 / 30)


DESIGNS: dict[str, Callable[[Design], None]] = {
    check.__name__: check for check in (numbers, arrays, categorical, linked, conditional, grid, constraints)
}


@pytest.mark.parametrize("name", blocks("design"))
def test_design(name):
    DESIGNS[name](Design(**yaml.safe_load(blocks("design")[name])))


def test_what_the_page_says_of_yaml():
    gap = {"gap": {"start": "3e-3", "bounds": [1e-3, 1], "unit": "m"}}
    assert yaml.safe_load("1e-3") == "1e-3"
    assert Design(gap)()["gap"].item() == pytest.approx(3.0)
    Design(gap, constraints=yaml.safe_load('["max(gap, 2 mm) <= 8 mm"]'))
    with pytest.raises(ConfigurationError, match="max"):
        Design(gap, constraints=yaml.safe_load("[max(gap, 2 mm) <= 8 mm]"))
    with pytest.raises(ConfigurationError, match="start design"):
        Design(gap, constraints=["gap <= 2 mm"])


# Python


def test_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"__name__": "page"}
    for name, text in blocks("python").items():
        exec(compile(text, f"{PAGE.name}: {name}", "exec"), scope)
    assert "{'gap': {'value': 5.0, 'unit': 'mm'}}" in capsys.readouterr().out
    assert scope["neighbours"].shape == (16, 1)
    read_back(scope)
    assert scope["chain"].promise == Promise.BLACK_BOX and scope["seen"].hits.shape == (1, 100, 8, 1)
    widths(scope["width"])
    assert 0 < float(scope["fraction"]) < 1


def read_back(scope: dict[str, Any]) -> None:
    events, columns = scope["events"], scope["columns"]
    kept = (events.truth[0, :, 0] > 800) & (events.mask[0].sum(1) >= 2)
    assert torch.equal(scope["number"], kept.nonzero()[:, 0])
    torch.testing.assert_close(scope["energies"], 1000 * events.truth[0, kept, 0])
    deposit = events.hits[0, kept, :, 0][events.mask[0, kept]]
    scaled = torch.where(deposit > 0.5, deposit, 0.9 * deposit)
    torch.testing.assert_close(columns["deposit"].values, scaled, check_dtype=False)
    assert scope["padded"].shape == scope["real"].shape
    assert scope["padded"][scope["real"]].numel() == deposit.numel()
    split = [len(scope[side].read()) for side in ("training", "testing")]
    count = int(kept.sum())
    assert sum(split) == count
    assert split[1] == pytest.approx(0.2 * count, abs=4 * (0.16 * count) ** 0.5)  # 4 sigma of a binomial number
    assert scope["batch"].events.hits.shape[2:] == (8, 1)


def widths(width: dict[str, float]) -> None:
    """rms² = ⟨r²⟩ and spread² = ⟨r²⟩ − ⟨r⟩² of 99 % N(0.1, 0.05) and 1 % at −0.8; quantile ≈ σ."""
    mean = 0.99 * 0.1 - 0.01 * 0.8
    square = 0.99 * (0.1**2 + 0.05**2) + 0.01 * 0.8**2
    assert width["rms"] == pytest.approx(square**0.5, rel=0.01)
    assert width["spread"] == pytest.approx((square - mean**2) ** 0.5 / (1 + mean), rel=0.01)
    assert width["quantile"] == pytest.approx(0.05, rel=0.03)  # the tail moves the lower quantile by 2 %
    assert width["quantile"] < width["spread"] < width["rms"]


# Detectors


def test_detector_in_yaml():
    detector = built(yaml.safe_load(blocks("detector")["amplified"]))
    experiment = Experiment.of(detector)
    torch.manual_seed(0)
    objective, _ = experiment.design_loss(512, torch.Generator().manual_seed(0))
    objective.backward()
    columns, slope = experiment.design.psi_columns, experiment.design.psi.grad
    assert slope is not None and slope.isfinite().all()
    for name in ("amplification", "light_yield"):
        assert slope[:, columns[name]].abs().item() > 1e-6, name
    assert experiment.design()["price"].item() == pytest.approx(20 * 100 + 100, rel=1e-4)


# Commands


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODE_OPT_DETECTORS", "")
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path


def test_commands(folder, capfd):
    for words in commands("command"):
        run = words[0] == "optimise" and not any(word.startswith("resume=") for word in words)
        extra = ["experiment=smoke"] if run else ["verification.steps=30"] if words[0] == "verify" else []
        quiet = [] if words[0] == "report" else ["quiet=true"]
        assert main([*words, *extra, *quiet]) == 0, (words, capfd.readouterr().err)
    result = json.loads((folder / "first" / "result.json").read_text())
    check_numbers(result)
    check_files(folder / "first")
    assert json.loads((folder / "first" / "verification.json").read_text())["seed"] == 7
    assert (folder / "events.root").is_file()
    capfd.readouterr()
    assert main(["optimise", "hydra.run.dir=first"]) == 2  # refused: it holds a run
    assert "resume=first" in capfd.readouterr().err
    assert json.loads((folder / "first" / "result.json").read_text()) == result
    check_composed()


def test_estimators(folder, capfd):
    """Each estimator of the table exists, with these options and defaults, and its commands run."""
    table = PAGE.read_text().split("| `gradient=` |")[1].split("*Choices*")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    files = {path.stem: yaml.safe_load(path.read_text()) for path in (PAGE.parent.parent / "conf/gradient").glob("*")}
    described = {
        row[0].strip("`"): yaml.safe_load(f"{{{','.join(re.findall('`([^`]*: [^`]*)`', row[3]))}}}") for row in rows
    }
    searches = {name for name, node in files.items() if any_search(get_object(node["_target_"]))}
    assert set(described) == set(files) - {"auto"} - searches
    for name, expected in described.items():
        assert {key: value for key, value in files[name].items() if key != "_target_"} == expected, name
    assert f"one of {len(described)} estimators" in PAGE.read_text()


def test_commands_about_estimators(folder, capfd, monkeypatch):
    """Each with less effort than shown; the run that one of them starts from is that of its start design."""
    monkeypatch.setattr("mode_opt.cli.optimise._report", lambda directory, progress: None)  # drawn in test_commands
    small = ["experiment=smoke", "quiet=true", "trainer=cpu", "verification.steps=2", "verification.replicas=1"]
    small += ["effort.warm_up=2", "effort.events=64", "effort.validation_events=64"]
    for words in commands("doctor"):
        words = [word for word in words if word != "design=first"]
        extra = {"gradients": ["batches=4", "events=16", "warm_up=2"], "compare": ["budget.steps=2"]}
        assert main([*words, *small, *extra.get(words[0], ["budget.steps=2"])]) == 0, (words, capfd.readouterr().err)
    for name in ("doctor/gradients.csv", "doctor/gradients.json", "doctor/figures/gradients.png", "both/compare.csv"):
        assert (folder / name).is_file(), name
    assert (folder / "both" / "figures" / "compare.png").is_file()


def test_the_keys_of_the_gradient_doctor():
    page, keys = PAGE.read_text(), composed([], "gradients")
    assert f"| `batches`, `events` | {keys.batches}, {keys.events} |" in page
    assert f"| `seconds` | {keys.seconds} |" in page
    assert keys.reference.batches is None and f"(twice `batches`), {keys.reference.step} |" in page
    assert keys.gradients is None and keys.warm_up is None
    assert keys.gradient_check == "warn" and "`gradient_check` (`warn`, `strict` or `off`)" in page


def check_numbers(result: dict[str, Any]) -> None:
    """The formula of ``simulator_calls``, with the numbers of experiment=smoke and 12 steps (2 checks)."""
    assert result["simulator_calls"] == 64 + (20 + 12 * 1) * 2 * 64 + 12 * 256 + 2 * 512
    objective = {name: result["objective"][name] for name in ("initial", "final", "improvement")}
    assert all(estimate["standard_error"] > 0 for estimate in objective.values())
    difference = objective["initial"]["value"] - objective["final"]["value"]
    assert objective["improvement"]["value"] == pytest.approx(difference, rel=1e-4)
    assert result["design"]["gap_thickness"]["unit"] == "mm" and result["constraints"]["length"]["satisfied"]
    assert "manufacturing" not in result


def check_files(run: Path) -> None:
    table = PAGE.read_text().split("A run directory holds:")[1].split("The numbers in")[0]
    named = re.findall(r"`([\w./]+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    assert len(named) == 10
    for name in set(named) - {"surrogate.json"}:
        assert (run / name).exists(), name
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["stopped_because"] == "budget of 12 design steps is spent"
    assert provenance["verification_calls"] > 0


def check_composed() -> None:
    """Build what the other commands describe, without running it; one starts from the run ``first``."""
    for words in commands("composed"):
        seeds = next((word for word in words if word.startswith("seed=")), "seed=0")
        words = [word for word in words[1:] if word not in ("--multirun", seeds)]
        words.append(seeds.split(",")[0])
        configuration = composed([*words, "run_directory=run"])
        detector = detector_of(configuration)
        experiment_of(configuration, detector)
        settings = settings_of(configuration)
        start = detector.design.concrete()["gap_thickness"]["value"]
        if "design.gap_thickness=3 mm" in words:
            assert start == pytest.approx(3.0)
        if "design=first" in words:
            final = json.loads(Path("first/result.json").read_text())["design"]["gap_thickness"]["final"]
            assert start == pytest.approx(final, rel=1e-5)
        if "budget.steps=null" in words:
            assert settings.budget.steps is None and settings.budget.simulator_calls == 2_000_000
        if "+effort.clip=5" in words:
            assert settings.effort.clip == 5 and len(settings.loggers) == 1
