"""``result.json``: what a run found, with nothing in it that was not measured."""

import json
from pathlib import Path
from typing import Any

from mode_opt.design import Design, DesignPoint
from mode_opt.experiment import Verification
from mode_opt.training.run_directory import versions, write_json


class Result:
    """The content of ``result.json``, written anew at each change.

    Args:
        directory: of the run.
        names: ``detector``, ``gradient`` and ``objective``; ``gradient_reason`` if the method was chosen for the user.
        seed: of the run.
    """

    def __init__(self, directory: Path, names: dict[str, str], seed: int) -> None:
        self.path = directory / "result.json"
        self.content: dict[str, Any] = {
            "detector": names["detector"],
            "gradient": names["gradient"],
            **{key: text for key, text in names.items() if key == "gradient_reason"},
            "seed": seed,
            "status": "running",
            "simulator_calls": 0,
            "wall_seconds": 0.0,
            "objective": {"name": names["objective"]},
            "design": {},
            "constraints": {},
            "versions": {name: text for name, text in versions().items() if name in ("mode_opt", "torch", "lightning")},
        }

    def update(self, **entries: Any) -> None:
        """Set entries and write the file."""
        self.content |= entries
        write_json(self.path, self.content)

    def recall(self, key: str) -> None:
        """Take over an entry of the file that is there from before the run was interrupted, if it has it."""
        try:
            entries = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return
        if isinstance(entries, dict) and key in entries:
            self.content[key] = entries[key]

    def designs(self, design: Design, start: DesignPoint, final: DesignPoint | None) -> None:
        """Enter the parameters of start and final design, and the constraints of the last known one."""
        initial, concrete = design.concrete(start), {} if final is None else design.concrete(final)
        entries = {}
        for name, entry in initial.items():
            entries[name] = {"initial": entry["value"], "unit": entry["unit"]}
            if name in concrete:
                entries[name]["final"] = concrete[name]["value"]
        constraints = {
            name: {"value": c.value, "limit": c.limit, "unit": c.unit, "satisfied": c.satisfied}
            for name, c in design.constraints_at(start if final is None else final).items()
        }
        self.update(design=entries, constraints=constraints)

    def measured(self, verification: Verification) -> None:
        """Enter the verified objective."""
        objective: dict[str, Any] = {"name": self.content["objective"]["name"]}
        for name in ("initial", "final", "improvement"):
            objective[name] = getattr(verification, name).as_dict()
        if verification.parts:
            objective["parts"] = {name: part.as_dict() for name, part in verification.parts.items()}
        self.update(objective=objective)
