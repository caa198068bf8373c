"""conf/surrogate: each file makes the family of its name and shows its defaults."""

import inspect

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

import mode_opt
from mode_opt import surrogates
from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.surrogates import Surrogate

FOLDER = next(path for path in mode_opt.__path__).removesuffix("mode_opt") + "conf/surrogate"

NAMES = ["deposits", "diffusion", "ensemble", "flow", "gan", "gaussian", "mixture", "quadratic"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_makes_its_family_and_shows_all_its_options(name: str) -> None:
    settings = OmegaConf.load(f"{FOLDER}/{name}.yaml")
    factory = instantiate(settings)
    primaries = Events.of(torch.zeros(3, 1, 1), torch.zeros(3, 1, 1, 1))
    surrogate = factory(DesignPoint.of(a=torch.zeros(3, 2)), primaries, Events.of(primaries.truth, primaries.hits + 2))
    assert isinstance(surrogate, Surrogate)
    options = list(inspect.signature(getattr(surrogates, name)).parameters.values())[3:]
    shown = {key: value for key, value in settings.items() if not str(key).startswith("_")}
    assert set(shown) == {option.name for option in options}
    for option in options:
        if option.name not in ("training", "member"):
            assert shown[option.name] == option.default
