"""Geometries: volumes of a design, for Geant4 and for engineers."""

from mode_opt.geometry.elements import ELEMENTS, Element
from mode_opt.geometry.gdml_reader import gdml_volume, read_gdml
from mode_opt.geometry.gdml_writer import gdml, write_gdml
from mode_opt.geometry.json_file import geometry_json, read_json, volume_of_json, write_json
from mode_opt.geometry.library import MATERIALS, material
from mode_opt.geometry.macro import MacroTemplate, macro
from mode_opt.geometry.materials import Material
from mode_opt.geometry.overlaps import Overlap, overlaps
from mode_opt.geometry.prices import Price
from mode_opt.geometry.rays import Crossing, crossings
from mode_opt.geometry.solids import Box, Cone, Solid, Tube
from mode_opt.geometry.stacks import Layer, LayerStack, stack, thicknesses
from mode_opt.geometry.table import EngineeringTable, Row, engineering_table
from mode_opt.geometry.volumes import Placement, Volume

__all__ = [
    "ELEMENTS",
    "MATERIALS",
    "Box",
    "Cone",
    "Crossing",
    "Element",
    "EngineeringTable",
    "Layer",
    "LayerStack",
    "MacroTemplate",
    "Material",
    "Overlap",
    "Placement",
    "Price",
    "Row",
    "Solid",
    "Tube",
    "Volume",
    "crossings",
    "engineering_table",
    "gdml",
    "gdml_volume",
    "geometry_json",
    "macro",
    "material",
    "overlaps",
    "read_gdml",
    "read_json",
    "stack",
    "thicknesses",
    "volume_of_json",
    "write_gdml",
    "write_json",
]
