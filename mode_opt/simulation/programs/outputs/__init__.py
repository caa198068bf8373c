"""What programs write, as arrays of events; a reader for each format."""

from mode_opt.simulation.programs.outputs.output import Output, output_of

__all__ = ["Output", "output_of"]
