"""Detectors that come with mode_opt, one package each."""
