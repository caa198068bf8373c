"""The calorimeter in Geant4. Runs in a process of its own: Geant4 aborts the process it is in when it meets an error.

Nothing here imports more than the standard library, numpy and, when it is called, geant4-pybind.
"""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mode_opt.detectors.geant4_calorimeter.data import IONISATION, environment

PARTS = ("absorber", "gap")
HITS = {
    "gap": ("gap", "deposit"),
    "absorber": ("absorber", "deposit"),
    "gap_path": ("gap", "path"),
    "absorber_path": ("absorber", "path"),
}
"""What can be read of each layer: deposited energy (MeV), or the length of all tracks (mm), in one part of it."""
KEPT = ("Transportation", "msc", "muMsc", "eIoni", "muIoni", "hIoni")
MARGIN = 10.0
"""Around the calorimeter, mm; the gun is half as far in front of it."""


class Stack:
    """The volumes: layers of absorber and gap one behind the other along z, the first front face at 0, in vacuum.

    Args:
        layers: number of them.
        absorber: NIST name in Geant4, such as ``G4_Pb``.
        gap: the same.
        width: in x and y, mm.
        design: ``absorber_thickness`` and ``gap_thickness`` in mm, one for all layers or one for each.
    """

    def __init__(self, g4: Any, layers: int, absorber: str, gap: str, width: float, design: Mapping[str, Any]) -> None:
        self.g4, self.width = g4, width
        materials = {"absorber": _material(g4, absorber, "absorber"), "gap": _material(g4, gap, "gap")}
        self.thicknesses = {part: _thicknesses(design, part, layers) for part in PARTS}
        self.length = float(sum(values.sum() for values in self.thicknesses.values()))
        half = width / 2 + MARGIN
        self._world = self._volume("world", half, self.length + MARGIN, _material(g4, "G4_Galactic", "world"))
        centre = g4.G4ThreeVector()
        self.world = g4.G4PVPlacement(None, centre, self._world, "world", None, False, 0, False)
        self.volumes: dict[str, list[Any]] = {part: [] for part in PARTS}
        self.placements: list[Any] = []
        position = 0.0
        for layer in range(layers):
            for part in PARTS:
                thickness = float(self.thicknesses[part][layer])
                self._place(part, layer, thickness, position + thickness / 2, materials[part])
                position += thickness

    def _volume(self, name: str, half_width: float, half_length: float, material: Any) -> Any:
        box = self.g4.G4Box(name, half_width, half_width, half_length)
        return self.g4.G4LogicalVolume(box, material, name)

    def _place(self, part: str, layer: int, thickness: float, z: float, material: Any) -> None:
        volume = self._volume(part, self.width / 2, thickness / 2, material)
        where = self.g4.G4ThreeVector(0, 0, z)
        placed = self.g4.G4PVPlacement(None, where, volume, part, self._world, False, layer, False)
        self.volumes[part].append(volume)
        self.placements.append(placed)


def _material(g4: Any, name: str, part: str) -> Any:
    found = g4.G4NistManager.Instance().FindOrBuildMaterial(name)
    if found is None:
        raise ValueError(f"detector.{part}: got {name!r}, expected a material of Geant4's NIST list, such as G4_Pb")
    return found


def _thicknesses(design: Mapping[str, Any], part: str, layers: int) -> np.ndarray:
    values = np.broadcast_to(np.asarray(design[f"{part}_thickness"], dtype=float), (layers,))
    if not (values > 0).all():
        raise ValueError(f"{part}_thickness: got {values.min():g} mm, expected more than 0")
    return values


def started() -> Any:
    """Geant4, which does not ask for data sets."""
    os.environ.pop("CI", None)  # with it geant4-pybind downloads what is missing while it is imported
    os.environ.update(environment(Path("no_data")))
    return import_module("geant4_pybind")


class Calorimeter:
    """Particles into the calorimeter along its axis.

    Args:
        layers: see `Stack`.
        absorber: see `Stack`.
        gap: see `Stack`.
        width: see `Stack`.
        particle: Geant4's name: ``e-``, ``gamma``, ``mu-``, ``pi+``, ``proton`` …
        physics: a reference list, such as ``FTFP_BERT`` or ``FTFP_BERT_EMZ``, or ``ionisation``: charged particles
            lose energy by ionisation and scatter, and nothing else happens.
        hits: features of a layer, among `HITS`.
        cut: range below which no secondary particles are made, mm.
    """

    def __init__(
        self,
        layers: int,
        absorber: str,
        gap: str,
        width: float,
        particle: str,
        physics: str,
        hits: Sequence[str],
        cut: float,
    ) -> None:
        self.stack: dict[str, Any] = {"layers": layers, "absorber": absorber, "gap": gap, "width": width}
        self.particle, self.physics, self.hits, self.cut = particle, physics, list(hits), cut
        self._done = False

    def __call__(
        self, design: Mapping[str, Any], primaries: Mapping[str, np.ndarray], events: int, seed: int
    ) -> np.ndarray:
        """``n x layers x f``: for each layer what ``hits`` names. Energies of the primaries are kinetic, MeV."""
        if self._done:
            raise RuntimeError("Geant4 runs once in a process: jobs_per_process must be 1")
        self._done = True
        g4 = started()
        manager = g4.G4RunManager()
        result = np.zeros((events, self.stack["layers"], len(self.hits)))
        construction = _construction(g4, lambda: Stack(g4, design=design, **self.stack), self.hits)
        physics = _physics(g4, self.physics)
        actions = _actions(g4, self.particle, primaries["energy"], self.hits, result)
        for part in (construction, physics, actions):
            manager.SetUserInitialization(part)
        _hush(g4)
        g4.HepRandom.setTheSeed(seed)
        manager.Initialize()
        _command(g4, f"/run/setCut {self.cut} mm")  # not before: what lists of physics were told is lost until then
        manager.BeamOn(events)
        if actions.done != events:
            raise RuntimeError(f"Geant4 ended after {actions.done} of {events} events")
        return result


def inspect(
    design: Mapping[str, Any],
    primaries: Mapping[str, np.ndarray],
    events: int,
    seed: int,
    physics: str,
    **stack: Any,
) -> np.ndarray:
    """What Geant4 makes of a design, without running: a row for each volume, in order along the beam.

    Needs no data set. Columns: layer, z of the centre (mm), thickness (mm), radiation length and nuclear interaction
    length of its material (mm), mass (kg), whether it overlaps with others.
    """
    g4 = started()
    if physics != IONISATION and not g4.G4PhysListFactory().IsReferencePhysList(physics):
        raise ValueError(f"detector.physics: got {physics!r}, expected {IONISATION} or a reference list of Geant4")
    built = Stack(g4, design=design, **stack)
    rows = []
    for placed in built.placements:
        volume = placed.GetLogicalVolume()
        material, box = volume.GetMaterial(), volume.GetSolid()
        place = [placed.GetCopyNo(), placed.GetTranslation().z, 2 * box.GetZHalfLength()]
        lengths = [material.GetRadlen(), material.GetNuclearInterLength()]
        mass = material.GetDensity() * box.GetCubicVolume() / g4.kg
        rows.append([*place, *lengths, mass, float(placed.CheckOverlaps(100, 0.0, False))])
    return np.tile(np.array(rows), (events, 1, 1))


def _construction(g4: Any, build: Any, hits: Sequence[str]) -> Any:
    """Volumes, and for each feature of a hit a scorer, which Geant4 fills without asking Python at each step."""

    class Construction(g4.G4VUserDetectorConstruction):
        def Construct(self) -> Any:
            self.stack = build()
            return self.stack.world

        def ConstructSDandField(self) -> None:
            self.kept: list[Any] = []
            scorers = {"deposit": g4.G4PSEnergyDeposit, "path": g4.G4PSTrackLength}
            for part in PARTS:
                detector = g4.G4MultiFunctionalDetector(part)
                g4.G4SDManager.GetSDMpointer().AddNewDetector(detector)
                for name in hits:
                    if HITS[name][0] == part:
                        scorer = scorers[HITS[name][1]](HITS[name][1])
                        detector.RegisterPrimitive(scorer)
                        self.kept.append(scorer)
                self.kept.append(detector)
                for volume in self.stack.volumes[part]:
                    self.SetSensitiveDetector(volume, detector)

    return Construction()


def _actions(g4: Any, particle: str, energies: np.ndarray, hits: Sequence[str], result: np.ndarray) -> Any:
    """The gun, and at the end of each event the reading of scorers into ``result``."""

    class Gun(g4.G4VUserPrimaryGeneratorAction):
        def __init__(self) -> None:
            super().__init__()
            self.gun = g4.G4ParticleGun(1)
            found = g4.G4ParticleTable.GetParticleTable().FindParticle(particle)
            if found is None:
                raise ValueError(f"detector.particle: got {particle!r}, expected a name that Geant4 knows, such as e-")
            self.gun.SetParticleDefinition(found)
            self.gun.SetParticleMomentumDirection(g4.G4ThreeVector(0, 0, 1))
            self.gun.SetParticlePosition(g4.G4ThreeVector(0, 0, -MARGIN / 2))

        def GeneratePrimaries(self, event: Any) -> None:
            self.gun.SetParticleEnergy(float(energies[event.GetEventID()]))
            self.gun.GeneratePrimaryVertex(event)

    class Reading(g4.G4UserEventAction):
        def EndOfEventAction(self, event: Any) -> None:
            collections = event.GetHCofThisEvent()
            for feature, name in enumerate(hits):
                number = g4.G4SDManager.GetSDMpointer().GetCollectionID("/".join(HITS[name]))
                for layer, value in collections.GetHC(number):
                    result[event.GetEventID(), layer, feature] = value
            actions.done += 1

    class Actions(g4.G4VUserActionInitialization):
        done = 0

        def Build(self) -> None:
            self.kept = [Gun(), Reading()]
            for action in self.kept:
                self.SetUserAction(action)

    actions = Actions()  # known to `Reading` by this name
    return actions


def _physics(g4: Any, name: str) -> Any:
    physics = _ionisation(g4) if name == IONISATION else _reference(g4, name)
    physics.SetVerboseLevel(0)
    return physics


def _reference(g4: Any, name: str) -> Any:
    """A list of Geant4's factory; those that the bindings have as classes are made as such."""
    factory = g4.G4PhysListFactory()
    factory.SetVerbose(0)
    if not factory.IsReferencePhysList(name):
        raise ValueError(f"detector.physics: got {name!r}, expected {IONISATION} or a reference list of Geant4")
    return getattr(g4, name)() if hasattr(g4, name) else _within(g4, factory.GetReferencePhysList(name))


def _within(g4: Any, inner: Any) -> Any:
    """A list around another, because the bindings hand none over that they did not make."""
    inner.SetVerboseLevel(0)

    class Outer(g4.G4VModularPhysicsList):
        def ConstructParticle(self) -> None:
            inner.ConstructParticle()

        def ConstructProcess(self) -> None:
            inner.ConstructProcess()

    return Outer()


def _ionisation(g4: Any) -> Any:
    """Of the standard electromagnetic processes those that are computed from formulae alone."""

    class Ionisation(g4.G4VModularPhysicsList):
        def __init__(self) -> None:
            super().__init__()
            self.standard = g4.G4EmStandardPhysics()

        def ConstructParticle(self) -> None:
            self.standard.ConstructParticle()
            g4.G4Geantino.Definition()

        def ConstructProcess(self) -> None:
            super().ConstructProcess()  # transportation
            self.standard.ConstructProcess()
            for particle in g4.G4ParticleTable.GetParticleTable().GetParticleList():
                processes = particle.GetProcessManager()
                for process in list(processes.GetProcessList()) if processes is not None else []:
                    if process.GetProcessName() not in KEPT:
                        processes.RemoveProcess(process)

    return Ionisation()


def _hush(g4: Any) -> None:
    """Tables of processes fill logs."""
    for topic in ("run", "event", "tracking", "process/em", "process/had"):
        _command(g4, f"/{topic}/verbose 0")


def _command(g4: Any, command: str) -> None:
    g4.G4UImanager.GetUIpointer().ApplyCommand(command)  # the binding does not tell whether it was understood
