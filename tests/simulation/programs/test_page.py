"""The example of docs/external.md runs."""

import re
import sys
from pathlib import Path

import numpy as np
import yaml
from hydra.utils import instantiate

from mode_opt.campaigns import Job
from mode_opt.simulation import ExternalProgram

PAGE = Path(__file__).parents[3] / "docs" / "external.md"

SHOWER = """#!{python}
import json, os, sys
import uproot
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
energies = [float(line) for line in open("primaries.csv").read().split()[1:]]
settings = json.load(open("settings.json"))
deposits = [[energy * gap for gap in settings["gaps"]] for energy in energies]
depths = [[float(given["--absorber"])] * len(settings["gaps"]) for _ in energies]
with uproot.recreate(given["--output"]) as file:
    file["showers"] = {{"edep": deposits, "z": depths, "w": [float(os.environ["SHOWER_FIELD"])] * len(energies)}}
"""


def example():
    return yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S)[0])


def test_the_example(tmp_path):
    described = example()["work"]
    folder, run_folder = tmp_path / "shower", tmp_path / "run"
    folder.mkdir(), run_folder.mkdir()
    for name, text in {
        "shower": SHOWER.format(python=sys.executable),
        "apptainer": '#!/bin/sh\nshift 4\nexec "$@"\n',  # stands for a container that knows the same files
        "run.mac.jinja": "/run/beamOn {{ events }}\n",
        "physics.dat": "",
        "image.sif": "",
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    work = instantiate(described | {"folder": str(folder), "memory_limit": None}, _convert_="all")
    assert isinstance(work, ExternalProgram)
    assert set(work.description()["fingerprint"]) == {path.name for path in folder.iterdir()}
    design = {"absorber_thickness": 20.0, "layers": 2, "absorber": "lead", "gaps": [10.0, 20.0], "field": 0.5}
    arrays = work.run(Job(work.digest, design, 2, 1, {"energy": np.array([1000.0, 3000.0])}), run_folder)
    np.testing.assert_allclose(arrays["hits"][..., 0], [[1000, 2000], [3000, 6000]])
    np.testing.assert_allclose(arrays["hits"][..., 1], 20.0)
    np.testing.assert_allclose(arrays["weight"], 0.5)
    assert (run_folder / "run.mac").read_text() == "/run/beamOn 2\n"


def test_the_page_names_every_key():
    keys = set(ExternalProgram.__init__.__annotations__) - {"return"}
    table = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.M))
    assert keys <= table
