"""Programs with a command line as simulators: told what to do by templates, read by what they write."""

from mode_opt.simulation.programs.program import ExternalProgram

__all__ = ["ExternalProgram"]
