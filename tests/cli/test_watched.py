"""What a user sees while jobs of an external program run."""

import io

from external_box import simulator
from rich.console import Console

from mode_opt.cli.build import watched
from mode_opt.simulation import Opaque, ParticleGun, stream
from mode_opt.training.progress import Progress


def test_jobs_are_counted_with_rate_and_time_to_go_and_the_line_goes_when_they_are_done():
    from cases import calorimeter_point

    box, shown = simulator(), []
    with watched(Opaque(box), lambda words, fraction: shown.append((words, fraction))):
        box(calorimeter_point(3), ParticleGun().sample(4), stream("cpu", 0))
        box(calorimeter_point(3), ParticleGun().sample(4), stream("cpu", 1))
    first, second, third = shown[:3]
    assert first[0].startswith("1 of 3 jobs, ") and "per s" in first[0] and first[1] == 1 / 3
    assert second[0].startswith("2 of 3 jobs") and third == ("", 1.0)


def test_jobs_read_from_the_store_are_not_shown():
    from cases import calorimeter_point

    box, shown = simulator(), []
    primaries = ParticleGun().sample(4)
    box(calorimeter_point(2), primaries, stream("cpu", 0))
    with watched(box, lambda words, fraction: shown.append(words)):
        box(calorimeter_point(2), primaries, stream("cpu", 0))
    assert shown == []


def test_the_line_of_jobs_is_under_that_of_the_phase():
    screen = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Progress({}, console=screen) as progress:
        progress.phase("optimising", 0.5)
        progress.jobs("3 of 9 jobs, 2.1 per s, 1 failed, 3 s to go", 1 / 3)
        progress._bar.refresh()
        shown = screen.file.getvalue()
        progress.jobs("", 1.0)
    assert "3 of 9 jobs, 2.1 per s, 1 failed, 3 s to go" in shown
