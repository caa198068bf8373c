"""Read a GDML file with Geant4 and print what it found as JSON; run as a program of its own.

    python geant4_reader.py FILE.gdml POINTS.json

Geant4's data sets are not needed. The package asks at import whether to fetch them, so standard input answers "n".
"""

import json
import sys
from pathlib import Path

import geant4_pybind as g4


def described(placed):
    logical = placed.GetLogicalVolume()
    material, where = logical.GetMaterial(), placed.GetTranslation()
    return {
        "name": placed.GetName(),
        "copy": placed.GetCopyNo(),
        "mass": logical.GetMass(True) / g4.kg,
        "cubic_volume": logical.GetSolid().GetCubicVolume(),
        "material": material.GetName(),
        "radiation_length": material.GetRadlen(),
        "density": material.GetDensity() / (g4.g / g4.cm3),
        "translation": [where.x, where.y, where.z],
        "overlaps": bool(placed.CheckOverlaps(1000, 1e-6, False)),
        "children": [described(logical.GetDaughter(k)) for k in range(logical.GetNoDaughters())],
    }


def located(world, point):
    """Names of the volumes around a point, outermost first."""
    navigator = g4.G4Navigator()
    navigator.SetWorldVolume(world)
    found = navigator.LocateGlobalPointAndSetup(g4.G4ThreeVector(*point), None, False)
    return found.GetName() if found is not None else None


parser = g4.G4GDMLParser()
parser.Read(sys.argv[1], False)
world = parser.GetWorldVolume()
places = [located(world, point) for point in json.loads(Path(sys.argv[2]).read_text())]
sys.stdout.write("\nRESULT " + json.dumps({"world": described(world), "places": places}) + "\n")
