"""The YAML file alone: it builds, it runs, both programs agree through it."""

import shutil
import sys
from pathlib import Path

import pytest
import torch

from mode_opt.campaigns import Campaign, Serial
from mode_opt.cli.build import detector_of
from mode_opt.cli.compose import composed
from mode_opt.errors import ConfigurationError
from mode_opt.simulation import conducted


@pytest.fixture
def detector(tmp_path, monkeypatch):
    """As it is configured; the folder of the compiled program is empty."""
    monkeypatch.setenv("MODE_OPT_SHOWER", str(tmp_path / "compiled"))
    return detector_of(composed(["detector=external_example"]))


def simulated(detector, name, store, count, seed=0):
    simulator = detector.simulator(name)
    conducted(simulator, Campaign(store, Serial()))
    generator = torch.Generator().manual_seed(seed)
    return simulator(detector.design().detach(), detector.primaries.sample(count, generator), generator)


def test_the_folder_holds_no_python_of_mode_opt():
    import mode_opt.detectors.external_example as package

    folder = Path(package.__file__).parent
    assert [path.name for path in folder.glob("*.py")] == ["__init__.py"]
    assert "mode_opt" not in (folder / "program" / "shower.py").read_text()


def test_python_is_told_centimetres_and_gev_and_its_root_file_is_read(detector, tmp_path):
    events = simulated(detector, "python", tmp_path / "store", 400)
    assert events.hits.shape == (1, 400, 16, 1) and bool(events.mask.all())
    # 2 mm of lead and 2 mm of scintillator: the visible sum of all that enters bounds the mean from above
    visible = events.hits.sum((0, 2, 3)).mean() / events.truth.mean()
    assert 0.005 < float(visible) < 0.645 * 2 * 0.2052 / (2 * 0.2052 + 2 * 1.273)
    again = simulated(detector, "python", tmp_path / "store", 400)
    assert torch.equal(again.hits, events.hits)


def test_the_yaml_can_be_copied_to_a_folder_of_ones_own(tmp_path, monkeypatch):
    import mode_opt.detectors.external_example as package

    text = (Path(package.__file__).parent / "conf/detector/external_example.yaml").read_text()
    folder = tmp_path / "mine/telescope/conf/detector"
    folder.mkdir(parents=True)
    (folder / "telescope.yaml").write_text(text.replace("name: external_example", "name: telescope"))
    monkeypatch.setenv("MODE_OPT_DETECTORS", str(tmp_path / "mine"))
    monkeypatch.setattr("sys.path", list(sys.path))
    telescope = detector_of(composed(["detector=telescope"]))
    assert telescope.name == "telescope"
    assert simulated(telescope, "python", tmp_path / "store", 10).count == 10


def test_a_program_that_is_not_built_harms_no_other(detector, tmp_path):
    with pytest.raises(ConfigurationError, match="compiled"):
        simulated(detector, "cpp", tmp_path / "store", 10)
    (tmp_path / "compiled").mkdir()
    with pytest.raises(ConfigurationError, match="shower"):
        simulated(detector, "cpp", tmp_path / "store", 10)
    assert simulated(detector, "python", tmp_path / "store", 10).count == 10


def test_both_programs_agree_through_mode_opt(detector, binary, tmp_path):
    (tmp_path / "compiled").mkdir()
    shutil.copy(binary, tmp_path / "compiled" / "shower")
    sums = []
    for name in ("python", "cpp"):
        events = simulated(detector, name, tmp_path / "store", 6000, seed=5)
        sums.append((events.hits[0, :, :, 0].sum(1) / events.truth[0, :, 0]).double())
    error = torch.stack([s.std() / s.numel() ** 0.5 for s in sums]).norm()
    assert abs(float(sums[0].mean() - sums[1].mean())) < 4 * float(error)
    spread = [s.var() for s in sums]
    errors = torch.stack([((s - s.mean()) ** 2).std() / s.numel() ** 0.5 for s in sums]).norm()
    assert abs(float(spread[0] - spread[1])) < 4 * float(errors)
