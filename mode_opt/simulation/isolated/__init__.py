"""A Python function as a simulator, in a process of its own."""

from mode_opt.simulation.isolated.function import PythonFunction

__all__ = ["PythonFunction"]
