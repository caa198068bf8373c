"""Reading of pyhf workspaces: files, measurements, and what is wrong with them."""

import json

import pytest
import torch

from mode_opt.errors import ConfigurationError, DataError
from mode_opt.objectives.statistics import build, fit, hypothesis_test, read_workspace
from mode_opt.objectives.statistics.building import Channel, Sample, Settings
from mode_opt.objectives.statistics.modifiers import NormFactor, NormSys, ShapeSys


def content():
    modifiers = [{"name": "g", "type": "shapesys", "data": [3.0, 7.0]}]
    modifiers.append({"name": "n", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}})
    signal = {"name": "s", "data": [12.0, 11.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]}
    background = {"name": "b", "data": [50.0, 52.0], "modifiers": modifiers}
    settings = [{"name": "mu", "bounds": [[-5.0, 5.0]], "inits": [0.5]}, {"name": "n", "fixed": True}]
    measurements = [
        {"name": "plain", "config": {"poi": "mu", "parameters": []}},
        {"name": "set", "config": {"poi": "mu", "parameters": settings}},
    ]
    return {
        "channels": [{"name": "a", "samples": [signal, background]}],
        "observations": [{"name": "a", "data": [51.0, 48.0]}],
        "measurements": measurements,
        "version": "1.0.0",
    }


def test_a_file_gives_the_model_that_the_parts_give(tmp_path):
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(content()))
    model, data = read_workspace(path)
    signal = Sample("s", torch.tensor([12.0, 11.0]), [NormFactor("mu")])
    background = Sample(
        "b", torch.tensor([50.0, 52.0]), [ShapeSys("g", torch.tensor([3.0, 7.0])), NormSys("n", 0.9, 1.1)]
    )
    same = build([Channel("a", [signal, background])])
    assert data.main.tolist() == [[51.0, 48.0]] and model.names == ["mu", "g[0]", "g[1]", "n"]
    torch.testing.assert_close(hypothesis_test(model, data).expected, hypothesis_test(same, data).expected)
    free = build([Channel("a", [signal, background])], settings={"mu": Settings(bounds=(-5.0, 5.0))})
    assert fit(free, data).theta[0, 0] < 0 and fit(same, data).theta[0, 0] == 0


def test_the_settings_of_a_measurement():
    model, data = read_workspace(content(), "set")
    assert model.initial[0] == 0.5 and (model.lower[0], model.upper[0]) == (-5.0, 5.0) and model.held[0, 3]
    best = fit(model, data).theta[0]
    assert best[0] < 0 and best[3] == 0
    with pytest.raises(ConfigurationError, match="one of plain, set"):
        read_workspace(content(), "other")


def change(place, value):
    whole = content()
    node = whole
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return whole


FIRST = ("channels", 0, "samples", 0, "modifiers", 0)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((*FIRST, "type"), "magic", "type magic"),
        ((*FIRST, "type"), "shapesys", "has no data"),
        (("observations", 0, "name"), "z", "KeyError"),
        (("measurements",), [], "not a pyhf workspace"),
        (("channels",), None, "not a pyhf workspace"),
        (("channels", 0, "samples", 0, "data"), 3.0, "not a pyhf workspace"),
    ],
)
def test_what_is_no_workspace(place, value, message):
    with pytest.raises(DataError, match=message):
        read_workspace(change(place, value))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "g", "bounds": [[0.0, 1.0], [0.0, 2.0]]}, r"g\.bounds"),
        ({"name": "g", "factors": [1.0, 2.0]}, "factors"),
        ({"name": "g", "sigmas": [1.0]}, "not normal"),
        ({"name": "n", "sigmas": [1.0, 2.0]}, r"n\.sigmas"),
    ],
)
def test_settings_that_are_not_supported(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        read_workspace(change(("measurements", 0, "config", "parameters"), [settings]))


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "workspace.json"
    with pytest.raises(DataError, match="workspace"):
        read_workspace(path)
    for text in ("{", "[]"):
        path.write_text(text)
        with pytest.raises(DataError, match=r"workspace\.json"):
            read_workspace(path)
