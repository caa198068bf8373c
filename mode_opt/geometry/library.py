"""Materials that detectors are built of."""

from mode_opt.errors import ConfigurationError
from mode_opt.geometry.elements import fractions
from mode_opt.geometry.materials import Material

_PURE: dict[str, tuple[str, float, float, float, str, str | None]] = {
    # formula, density g/cm3, X0 mm, nuclear interaction length mm, state, name in Geant4
    "Be": ("Be", 1.848, 352.8, 421.0, "solid", "G4_Be"),
    "graphite": ("C", 2.210, 193.2, 388.2, "solid", "G4_GRAPHITE"),
    "Al": ("Al", 2.699, 88.97, 397.0, "solid", "G4_Al"),
    "Si": ("Si", 2.329, 93.70, 465.2, "solid", "G4_Si"),
    "Ti": ("Ti", 4.540, 35.60, 278.0, "solid", "G4_Ti"),
    "Fe": ("Fe", 7.874, 17.57, 167.7, "solid", "G4_Fe"),
    "Cu": ("Cu", 8.960, 14.36, 153.2, "solid", "G4_Cu"),
    "Sn": ("Sn", 7.310, 12.06, 228.1, "solid", "G4_Sn"),
    "W": ("W", 19.300, 3.504, 99.46, "solid", "G4_W"),
    "Au": ("Au", 19.320, 3.344, 101.6, "solid", "G4_Au"),
    "Pb": ("Pb", 11.350, 5.612, 175.9, "solid", "G4_Pb"),
    "U": ("U", 18.950, 3.166, 110.3, "solid", "G4_U"),
    "lAr": ("Ar", 1.396, 140.0, 857.7, "liquid", "G4_lAr"),
    "lXe": ("Xe", 2.953, 28.72, 582.9, "liquid", "G4_lXe"),
    "argon": ("Ar", 1.662e-3, 117600.0, 720200.0, "gas", "G4_Ar"),
    "CsI": ("CsI", 4.510, 18.60, 380.4, "solid", "G4_CESIUM_IODIDE"),
    "NaI": ("NaI", 3.667, 25.88, 421.6, "solid", "G4_SODIUM_IODIDE"),
    "BGO": ("Bi4Ge3O12", 7.130, 11.18, 223.1, "solid", "G4_BGO"),
    "BaF2": ("BaF2", 4.893, 20.26, 304.5, "solid", "G4_BARIUM_FLUORIDE"),
    "PVT": ("C9H10", 1.032, 425.4, 787.8, "solid", "G4_PLASTIC_SC_VINYLTOLUENE"),
    "PMMA": ("C5H8O2", 1.190, 340.7, 695.8, "solid", "G4_PLEXIGLASS"),
    "polyethylene": ("CH2", 0.890, 503.1, 882.0, "solid", "G4_POLYETHYLENE"),
    "kapton": ("C22H10N2O5", 1.420, 285.7, 602.1, "solid", "G4_KAPTON"),
    "mylar": ("C10H8O4", 1.400, 285.4, 606.4, "solid", "G4_MYLAR"),
    "teflon": ("C2F4", 2.200, 158.4, 429.1, "solid", "G4_TEFLON"),
    "quartz": ("SiO2", 2.200, 122.9, 444.5, "solid", "G4_SILICON_DIOXIDE"),
    "water": ("H2O", 1.000, 360.8, 833.0, "liquid", "G4_WATER"),
    "CO2": ("CO2", 1.842e-3, 196500.0, 482600.0, "gas", "G4_CARBON_DIOXIDE"),
    "G10": ("SiO2C3H3", 1.700, 194.0, 531.0, "solid", None),
    "LYSO": ("Lu1.8Y0.2SiO5", 7.400, 11.40, 209.0, "solid", None),
}

_MIXTURES: dict[str, tuple[dict[str, float], float, float, float, str, str | None]] = {
    "PbWO4": ({"Pb": 0.455347, "W": 0.404011, "O": 0.140637}, 8.300, 8.903, 202.7, "solid", "G4_PbWO4"),
    "polystyrene": ({"H": 0.077418, "C": 0.922582}, 1.060, 413.1, 771.0, "solid", "G4_POLYSTYRENE"),
    "air": (
        {"C": 0.000124, "N": 0.755267, "O": 0.231781, "Ar": 0.012827},
        *(1.205e-3, 303900.0, 747700.0, "gas", "G4_AIR"),
    ),
    "glass": (
        {"B": 0.040061, "O": 0.539564, "Na": 0.028191, "Al": 0.011644, "Si": 0.377220, "K": 0.003321},
        *(2.230, 126.3, 432.7, "solid", "G4_Pyrex_Glass"),
    ),
    "lead_glass": (
        {"O": 0.156453, "Si": 0.080866, "Ti": 0.008092, "As": 0.002651, "Pb": 0.751938},
        *(6.220, 12.65, 254.0, "solid", "G4_GLASS_LEAD"),
    ),
    "concrete": (
        {
            **{"H": 0.01, "C": 0.001, "O": 0.529107, "Na": 0.016, "Mg": 0.002, "Al": 0.033872},
            **{"Si": 0.337021, "K": 0.013, "Ca": 0.044, "Fe": 0.014},
        },
        *(2.300, 115.5, 423.9, "solid", "G4_CONCRETE"),
    ),
    "vacuum": ({"H": 1.0}, 1e-25, 6.304e27, 5.20e27, "gas", "G4_Galactic"),
}


def _made(
    name: str,
    composition: dict[str, float],
    density: float,
    radiation: float,
    interaction: float,
    state: str,
    nist: str | None,
) -> Material:
    return Material(name, density, composition, radiation, interaction, state, nist)


def _library() -> dict[str, Material]:
    pure = {name: _made(name, fractions(entry[0]), *entry[1:]) for name, entry in _PURE.items()}
    mixed = {name: _made(name, *entry) for name, entry in _MIXTURES.items()}
    steel = Material.of("stainless_steel", 8.0, {"Fe": 0.74, "Cr": 0.18, "Ni": 0.08})
    return pure | mixed | {steel.name: steel}


MATERIALS = _library()
"""The materials by name.

Source of density, lengths and composition: Particle Data Group, Atomic and Nuclear Properties of Materials,
pdg.lbl.gov/AtomicNuclearProperties (lengths divided by the density of the same table). ``LYSO`` is from the table of
crystals in the PDG review of particle detectors, ``G10`` from the PDG booklet of 2002, with SiO2 and C3H3 in equal
numbers as its composition (``X0`` from it is 3.5 % shorter); ``stainless_steel`` (18 % chromium, 8 % nickel) and
``vacuum`` follow from their composition.
"""


_NIST = {made.nist: made for made in MATERIALS.values() if made.nist is not None}


def material(name: str, key: str = "material") -> Material:
    """The material of that name, or of that name in Geant4; ``key`` is the configuration key that errors show.

    Raises:
        ConfigurationError: if there is none.
    """
    if name not in MATERIALS and name not in _NIST:
        raise ConfigurationError(key, name, f"one of {', '.join(MATERIALS)}, or Geant4's name of one")
    return MATERIALS.get(name) or _NIST[name]
