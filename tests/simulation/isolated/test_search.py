"""From a Python function to its best design."""

from pathlib import Path

import torch
from bowl import BEST, bowl_design, bowl_pipeline, searched

from mode_opt.campaigns import Campaign, Processes, Status, Store
from mode_opt.gradients import LocalRegression, Sampling
from mode_opt.simulation import ExternalSimulator, PythonFunction


def found(folder):
    work = PythonFunction("black_boxes:bowl", path=Path(__file__).parent)
    executor = Processes(2)
    simulator = ExternalSimulator(work, cells=1, campaign=Campaign(Store(folder), executor))
    design = bowl_design()
    search = LocalRegression(sampling=Sampling(calls=80), window=300, inducing=80)
    searched(search, bowl_pipeline(simulator, design), steps=6)
    executor.close()
    return search.answer(design), sum(1 for _ in Store(folder).entries(work.digest, Status.DONE))


def test_a_search_ends_at_the_optimum_and_repeats_from_the_store(tmp_path):
    best, jobs = found(tmp_path)
    point = bowl_design().point(best[None] if best.ndim == 1 else best)
    assert torch.allclose(point.values[0].float(), torch.tensor(BEST), atol=0.25)
    again, same = found(tmp_path)
    assert torch.equal(best, again) and jobs == same > 50
