"""Many runs of a simulator on many machines, each of them once; knows nothing of designs and physics."""

from mode_opt.campaigns.campaign import Campaign, Report
from mode_opt.campaigns.claims import note_child
from mode_opt.campaigns.executors import DaskExecutor, Executor, FileDrop, Processes, Serial
from mode_opt.campaigns.failures import CampaignError, Failure, JobFailure
from mode_opt.campaigns.job import Job, seed_of
from mode_opt.campaigns.outcome import Outcome, Status
from mode_opt.campaigns.patience import Patience, Tally
from mode_opt.campaigns.performing import Task
from mode_opt.campaigns.store import Entry, Store
from mode_opt.campaigns.work import Arrays, Work, work_of
from mode_opt.campaigns.worker import Worked, work_off

__all__ = [
    "Arrays",
    "Campaign",
    "CampaignError",
    "DaskExecutor",
    "Entry",
    "Executor",
    "Failure",
    "FileDrop",
    "Job",
    "JobFailure",
    "Outcome",
    "Patience",
    "Processes",
    "Report",
    "Serial",
    "Status",
    "Store",
    "Tally",
    "Task",
    "Work",
    "Worked",
    "note_child",
    "seed_of",
    "work_of",
    "work_off",
]
