"""The example of docs/python_functions.md."""

import re
from pathlib import Path

import pytest
import yaml
from hydra.utils import instantiate

from mode_opt.campaigns import Campaign, Serial, Store
from mode_opt.design import DesignPoint
from mode_opt.simulation import ParticleGun, conducted, stream

PAGE = Path(__file__).parents[3] / "docs" / "python_functions.md"


def test_the_example(tmp_path):
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "my_showers.py").write_text(source)
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S)
    described = yaml.safe_load(text)
    described["work"]["path"] = [str(tmp_path)]
    simulator = instantiate(described, _convert_="all")
    conducted(simulator, Campaign(Store(tmp_path / "store"), Serial()))
    phi = DesignPoint.of(absorber_thickness=[[2.0]], gap_thickness=[[10.0]])
    events = simulator(phi, ParticleGun((1000.0, 2000.0)).sample(50, stream("cpu", 1)), stream("cpu", 2))
    assert events.hits.shape == (1, 50, 10, 1)
    ratio = events.hits.sum((2, 3)) / events.truth[..., 0]
    assert ratio.mean().item() == pytest.approx(0.5, rel=0.02)  # 10 mm of 20 mm
