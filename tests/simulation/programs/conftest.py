"""Programs of a few lines, in folders of their own."""

import json
import sys
from pathlib import Path

import pytest

from mode_opt.campaigns import Job
from mode_opt.simulation import ExternalProgram

OUTPUT = {"file": "out.csv", "hits": {"deposit": "e"}}
HEADER = "import os, sys, json\n"


@pytest.fixture
def runner(tmp_path):
    """Describes a Python program by its text, runs it once."""

    class Runner:
        def __init__(self):
            self.folder = tmp_path / "program"
            self.run_folder = tmp_path / "a run; $(touch no)"
            self.folder.mkdir()
            self.run_folder.mkdir()

        def work(self, text="", arguments=(), **fields):
            (self.folder / "main.py").write_text(HEADER + text)
            start = [sys.executable, "-S", "-E", "{{ folder }}/main.py"]
            fields = {"output": OUTPUT, "folder": self.folder} | fields
            return ExternalProgram(command=[*start, *arguments], **fields)

        def job(self, design=None, events=3, seed=7, primaries=None):
            return Job("0" * 64, design or {}, events, seed, primaries or {})

        def run(self, text="", job=None, **fields):
            return self.work(text, **fields).run(job or self.job(), self.run_folder)

        def told(self, *arguments, job=None, **fields):
            """What reached the program as arguments."""
            text = 'open("told.json", "w").write(json.dumps(sys.argv[1:]))\n'
            text += 'open("out.csv", "w").write("e\\n1\\n1\\n1\\n")\n'
            self.run(text, job, arguments=arguments, **fields)
            return json.loads((self.run_folder / "told.json").read_text())

        def file(self, name) -> Path:
            return self.run_folder / name

    return Runner()
