"""``mode-opt simulate``: events of one design into a ROOT file."""

from pathlib import Path

import torch

from mode_opt.cli.build import detector_of, simulator_of, watched
from mode_opt.cli.compose import composed
from mode_opt.data import write_events
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import stream
from mode_opt.training.progress import Progress

CHUNK = 10_000


def main(arguments: list[str]) -> int:
    """Simulate ``events=N`` events of the design (``design=RUN_DIR`` or ``design.NAME=VALUE``) into ``output=FILE``."""
    configuration = composed(arguments, "simulate")
    count, output = configuration.events, Path(str(configuration.output))
    if not isinstance(count, int) or count < 1:
        raise ConfigurationError("events", count, "a positive number of events")
    if output.suffix != ".root" or not output.parent.is_dir():
        raise ConfigurationError("output", str(output), "a .root file in a folder that exists")
    detector = detector_of(configuration)
    with Progress({}, bool(configuration.quiet)) as progress, torch.no_grad():
        simulator = simulator_of(configuration, detector, progress.phase)
        phi, parts = detector.design().detach(), []
        with watched(simulator, progress.jobs):
            for index, start in enumerate(range(0, count, CHUNK)):
                generator = stream("cpu", int(configuration.seed), "simulate", index)
                primaries = detector.primaries.sample(min(CHUNK, count - start), generator)
                parts.append(simulator(phi, primaries, generator))
                progress.phase("simulating", (start + CHUNK) / count)
        names = detector.primaries.truth_names, detector.hit_names
        write_events(output, Events.cat(parts), *names, design={name: phi[name] for name in phi.layout.names})
        progress.say(f"{count} events of {detector.name} in {output}")
    return 0
