"""Tracks that more than one module looks at."""

import pytest

from mode_opt.detectors.cosmic_telescope.refit import refitted


@pytest.fixture(scope="session")
def own_tracks():
    """The tracks that are fitted to the strips of the run, and the number of events with all clusters."""
    return refitted()
