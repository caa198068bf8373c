"""Figures, tables and one HTML page from a run directory."""

from mode_opt.report.array_figure import figure_arrays
from mode_opt.report.constraint_figure import figure_constraints
from mode_opt.report.detector_figure import figure_detector
from mode_opt.report.diagnostics_figure import figure_diagnostics
from mode_opt.report.objective_figure import figure_objective
from mode_opt.report.parameter_figures import figure_categories, figure_parameters
from mode_opt.report.promise_figure import figure_promises
from mode_opt.report.resolution_figures import figure_bias, figure_resolution
from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.surrogate_figure import figure_surrogate
from mode_opt.report.tolerance_figure import figure_tolerance
from mode_opt.report.write import write_figure, write_report

__all__ = [
    "RunDirectory",
    "figure_arrays",
    "figure_bias",
    "figure_categories",
    "figure_constraints",
    "figure_detector",
    "figure_diagnostics",
    "figure_objective",
    "figure_parameters",
    "figure_promises",
    "figure_resolution",
    "figure_surrogate",
    "figure_tolerance",
    "write_figure",
    "write_report",
]
