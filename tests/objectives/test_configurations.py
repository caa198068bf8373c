"""Every file in conf/objective builds its objective, with the defaults of its class where it repeats them."""

import inspect
from pathlib import Path

import pytest
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

from mode_opt.objectives import Objective

FOLDER = Path(__file__).parents[2] / "conf" / "objective"
FUNCTION = {"_target_": "hydra.utils.get_method", "path": "math.log"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_file_builds_an_objective(path):
    content = OmegaConf.load(path)
    for key in list(OmegaConf.to_container(content)):
        if OmegaConf.is_missing(content, key):  # a function of the user
            content[key] = OmegaConf.create(FUNCTION)
    assert isinstance(instantiate(content), Objective)


COMPLETE = ["area_under_curve", "contrastive_information", "cramer_rao", "cross_entropy"]
COMPLETE += ["information_gain", "separation", "signal_loss", "sinkhorn"]


@pytest.mark.parametrize("name", COMPLETE)
def test_the_file_shows_every_option_with_its_default(name):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))
    parameters = inspect.signature(get_class(content.pop("_target_"))).parameters
    assert list(content) == list(parameters)
    for key, value in content.items():
        default = parameters[key].default
        expected = "???" if default is inspect.Parameter.empty else default
        assert value == (list(expected) if isinstance(expected, tuple) else expected), key
