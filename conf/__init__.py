"""Hydra configuration of mode_opt."""
