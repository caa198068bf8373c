"""Jobs of an external program become events of designs, whatever some of the jobs do."""

import copy

import numpy as np
import pytest
import torch

from mode_opt.campaigns import Campaign, CampaignError, Failure, JobFailure, Patience, Processes, Serial, Status, Work
from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.events import Events
from mode_opt.simulation import Chain, Counted, ExternalSimulator, Opaque, ParticleGun, attempt, conducted, external


class Telling(Work):
    """Two hits an event, 1000 · gap + energy and the seed's remainder; fails as it is told to."""

    kind = "telling of test_external"

    def __init__(self, fails=lambda job: False, uniform=False, hits=2, value=None):
        self.fails, self.uniform, self.hits, self.value = fails, uniform, hits, value
        self.jobs = []

    def description(self):
        return {"hits": self.hits}

    @classmethod
    def of(cls, description):
        return cls(**description)

    @property
    def uniform_primaries(self):
        return self.uniform

    def run(self, job, folder):
        self.jobs.append(job)
        if self.fails(job):
            raise JobFailure(Failure.EXIT, f"exit code 1 at gap {job.design['gap']:g}")
        hits = np.zeros((job.events, self.hits, 1))
        hits[:, 0, 0] = 1000 * job.design["gap"] + job.primaries["energy"]
        hits[:, 1, 0] = job.seed % 1000 if self.value is None else self.value
        return {"hits": hits}


def simulator(tmp_path, work, **options):
    patience = Patience(attempts=1, failed=options.pop("failed", 1.0))
    return ExternalSimulator(work, **{"cells": 2, **options}, campaign=Campaign(tmp_path / "store", Serial(), patience))


def designs(*gaps):
    return DesignPoint.of(gap=torch.tensor(gaps)[:, None])


def energies(*values):
    return Events.of(torch.tensor(values)[None, :, None], torch.tensor(values)[None, :, None, None])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_event_comes_back_with_its_design_and_its_primary(tmp_path):
    work = Telling()
    events = simulator(tmp_path, work, events_per_job=2)(designs(1.0, 2.0), energies(1, 2, 3, 4, 5), generator())
    expected = torch.tensor([[1001, 1002, 1003, 1004, 1005], [2001, 2002, 2003, 2004, 2005]])
    assert torch.equal(events.hits[:, :, 0, 0], expected.float())
    assert bool((events.weight == 1).all()) and bool(events.mask.all())
    assert torch.equal(events.truth, energies(1, 2, 3, 4, 5).truth.expand(2, -1, -1))
    assert len(work.jobs) == 2 * 3 and len({job.seed for job in work.jobs}) == 6


def test_a_program_that_is_told_one_primary_gets_a_job_for_each(tmp_path):
    work = Telling(uniform=True)
    events = simulator(tmp_path, work)(designs(1.0), energies(3, 7, 3, 7, 3), generator())
    assert events.hits[0, :, 0, 0].tolist() == [1003, 1007, 1003, 1007, 1003]
    assert sorted((job.events, job.primaries["energy"].tolist()) for job in work.jobs) == [(2, [7, 7]), (3, [3, 3, 3])]


def test_the_same_seed_simulates_nothing_again_and_gives_the_same(tmp_path):
    work = Telling()
    box = simulator(tmp_path, work)
    first = box(designs(1.0, 2.0), energies(1, 2), generator(4))
    again = box(designs(1.0, 2.0), energies(1, 2), generator(4))
    other = box(designs(1.0, 2.0), energies(1, 2), generator(5))
    assert torch.equal(first.hits, again.hits) and not torch.equal(first.hits, other.hits) and len(work.jobs) == 4


def test_lost_events_have_weight_zero_while_enough_come_back(tmp_path):
    work = Telling(fails=lambda job: 5 in job.primaries["energy"])
    events = simulator(tmp_path, work, events_per_job=2)(designs(1.0), energies(1, 2, 3, 4, 5), generator())
    assert events.weight.tolist() == [[1, 1, 1, 1, 0]] and not events.mask[0, 4].any()
    strict = simulator(tmp_path / "strict", work, events_per_job=2, share=0.9)
    with pytest.raises(SimulationError, match="exit code 1 at gap 1"):
        strict(designs(1.0), energies(1, 2, 3, 4, 5), generator())


def test_designs_that_fail_are_marked_within_an_attempt_and_nothing_is_run_twice(tmp_path):
    work = Telling(fails=lambda job: job.design["gap"] > 2.5)
    tried = attempt(Counted(simulator(tmp_path, work)), designs(1.0, 3.0, 2.0), energies(1, 2, 3), generator())
    assert tried.succeeded.tolist() == [True, False, True] and len(work.jobs) == 3
    assert tried.events.hits[:, 0, 0, 0].tolist() == [1001, 2001] and "exit code 1 at gap 3" in tried.reasons[0]
    everything = attempt(simulator(tmp_path, work), designs(3.0, 4.0), energies(1, 2), generator())
    assert everything.events is None and everything.failures == 2


def test_outside_an_attempt_a_failed_design_is_an_error(tmp_path):
    work = Telling(fails=lambda job: job.design["gap"] > 2.5)
    with pytest.raises(SimulationError, match="exit code 1 at gap 3"):
        simulator(tmp_path, work)(designs(1.0, 3.0), energies(1, 2), generator())


def test_a_campaign_that_gives_up_is_not_the_failure_of_a_design(tmp_path):
    work = Telling(fails=lambda job: True)
    box = simulator(tmp_path, work, failed=0.3)
    with pytest.raises(CampaignError, match="mode-opt store run"):
        for seed in range(20):
            attempt(box, designs(1.0, 2.0), energies(1, 2), generator(seed))


def test_nan_from_the_program_is_a_failed_design(tmp_path):
    box = simulator(tmp_path, Telling(value=float("nan")))
    tried = attempt(box, designs(1.0), energies(1, 2), generator())
    assert tried.events is None and "NaN" in tried.reasons[0]
    (entry,) = box.campaign.store.entries(status=Status.QUARANTINED)
    assert entry.outcome.failure is Failure.NOT_FINITE and entry.outcome.attempts == 1


def test_a_result_that_was_damaged_on_the_disk_is_simulated_again(tmp_path):
    work = Telling()
    box = simulator(tmp_path, work)
    first = box(designs(1.0), energies(1, 2), generator())
    path = box.campaign.store.folders.result(work.jobs[0].key)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SimulationError, match="not a complete"):
        box(designs(1.0), energies(1, 2), generator())
    assert torch.equal(box(designs(1.0), energies(1, 2), generator()).hits, first.hits) and len(work.jobs) == 2


def test_hits_are_padded_and_too_many_are_refused(tmp_path):
    events = simulator(tmp_path, Telling(), cells=4)(designs(1.0), energies(1), generator())
    assert events.hits.shape == (1, 1, 4, 1) and events.mask.tolist() == [[[True, True, False, False]]]
    with pytest.raises(ConfigurationError, match=r"simulator\.cells.*at least 2"):
        simulator(tmp_path / "few", Telling(), cells=1)(designs(1.0), energies(1), generator())


def test_names_must_fit_the_primaries(tmp_path):
    with pytest.raises(ConfigurationError, match=r"simulator\.primaries"):
        simulator(tmp_path, Telling(), primaries=("energy", "angle"))(designs(1.0), energies(1), generator())


def test_external_programs_are_found_in_chains_and_behind_counters(tmp_path):
    box, other = ExternalSimulator(Telling(), cells=2), ExternalSimulator(Telling(), cells=2)
    whole = Counted(Chain({"first": Opaque(box), "second": other}))
    assert external(whole) == [box, other]
    campaign = Campaign(tmp_path / "store", Serial())
    conducted(whole, campaign)
    assert box.campaign is campaign and other.campaign is campaign
    conducted(whole, Campaign(tmp_path / "other", Serial()))
    assert box.campaign is campaign  # the first one stays


@pytest.mark.parametrize("option", [{"cells": 0}, {"events_per_job": 0}, {"share": 0.0}, {"share": 1.5}])
def test_options_out_of_range_are_named(option):
    with pytest.raises(ConfigurationError, match=f"simulator.{next(iter(option))}"):
        ExternalSimulator(Telling(), **{"cells": 2, **option})


def test_weights_of_primaries_are_kept(tmp_path):
    primaries = ParticleGun().sample(3).reweighted(torch.tensor([[1.0, 2.0, 3.0]]))
    events = simulator(tmp_path, Telling())(designs(1.0), primaries, generator())
    assert events.weight.tolist() == [[1, 2, 3]]


def test_a_program_is_described_when_it_is_first_run(tmp_path):
    made = []

    def describe():
        made.append(Telling())
        return made[-1]

    lazy = simulator(tmp_path, describe)
    assert not made
    for _ in range(2):
        lazy(designs(1.0), energies(1, 2), generator())
    assert len(made) == 1 and len(made[0].jobs) == 1

    def missing():
        raise ConfigurationError("program.folder", "/nowhere", "a folder")

    with pytest.raises(ConfigurationError, match="nowhere"):
        simulator(tmp_path, missing)(designs(1.0), energies(1, 2), generator())


def test_copies_share_the_campaign_even_while_it_has_workers(tmp_path):
    work = Telling()
    with Campaign(tmp_path / "store", Processes(1)) as campaign:
        first = ExternalSimulator(work, cells=2, campaign=campaign)
        first(designs(1.0), energies(1, 2), generator())
        second = copy.deepcopy(first)
        assert second.campaign is first.campaign
        second(designs(1.0), energies(1, 2), generator())
        assert campaign.reused == 1 and len(work.jobs) == 1
