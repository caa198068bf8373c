"""Where jobs run."""

from mode_opt.campaigns.executors.base import Executor
from mode_opt.campaigns.executors.dask import DaskExecutor
from mode_opt.campaigns.executors.file_drop import FileDrop
from mode_opt.campaigns.executors.local import Processes, Serial

__all__ = ["DaskExecutor", "Executor", "FileDrop", "Processes", "Serial"]
