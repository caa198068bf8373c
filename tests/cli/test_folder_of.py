"""``${folder_of:NAME}``: where the files of a detector lie, in configurations."""

import sys
from pathlib import Path

import pytest

from mode_opt.cli.compose import composed, folder_of
from mode_opt.errors import ConfigurationError

YAML = """
_target_: mode_opt.detectors.benchmarks.benchmark
name: ${folder_of:telescope}/${folder_of:benchmarks}
"""


def test_folders_of_installed_detectors_and_of_named_folders(tmp_path, monkeypatch):
    (tmp_path / "telescope/conf/detector").mkdir(parents=True)
    (tmp_path / "telescope/conf/detector/telescope.yaml").write_text(YAML)
    monkeypatch.setenv("MODE_OPT_DETECTORS", str(tmp_path))
    monkeypatch.setattr("sys.path", list(sys.path))
    name = composed(["detector=telescope"]).detector.name
    telescope, benchmarks = name.split("/telescope/")
    assert (Path(telescope) / "telescope/conf/detector/telescope.yaml").is_file()
    assert (Path(f"/{benchmarks}") / "conf/detector/sphere_d.yaml").is_file()


def test_an_unknown_one_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ConfigurationError, match=r"got 'nowhere', expected one of .*external_example"):
        folder_of("nowhere")


def test_the_command_line_says_so_in_a_line(command, tmp_path):
    done = command("simulate", "detector=external_example", "+detector.nothing=${folder_of:nowhere}", check=False)
    assert done.returncode != 0 and "folder_of: got 'nowhere'" in done.stderr and "Traceback" not in done.stderr
