"""The files in conf/gradient say what the classes do by default."""

import inspect
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_object, instantiate

import mode_opt.conf
from mode_opt.search import BayesianOptimisation, StartPoint

FOLDER = Path(mode_opt.conf.__file__).parent / "gradient"
NODES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}
SEARCHES = {name: node for name, node in NODES.items() if node["_target_"].startswith("mode_opt.search.")}


def test_every_search_can_be_chosen():
    assert set(SEARCHES) == {"bayesian", "cma_es", "hypervolume", "random_search", "start_point", "turbo"}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_file_shows_every_option_with_its_default(name):
    node = {key: value for key, value in SEARCHES[name].items() if key != "_target_"}
    defaults = inspect.signature(get_object(SEARCHES[name]["_target_"])).parameters
    assert set(node) == set(defaults)
    for key, value in node.items():
        if not isinstance(value, dict):
            assert defaults[key].default == value, key


def test_the_parts_of_a_start_point_are_built():
    built = instantiate(SEARCHES["start_point"])
    assert isinstance(built, StartPoint) and isinstance(built.search, BayesianOptimisation)
    assert type(built.then) is type(StartPoint().then)
