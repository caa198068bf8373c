"""Macros: a line for each number, in units that Geant4 knows; nothing can be smuggled in."""

import pytest

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.geometry import MacroTemplate, macro

DESIGN = {
    "gap": {"value": 2.5, "unit": "mm"},
    "plate": {"value": [1.0, None, 3.0], "unit": "cm"},
    "layers": {"value": 12, "unit": ""},
    "absorber": {"value": "G4_Pb", "unit": ""},
    "field": {"value": 1.5, "unit": "T"},
    "gone": {"value": None, "unit": "mm"},
    "shift": {"value": 2.0, "unit": "inch"},
    "price": {"value": 3.0, "unit": "EUR/g"},
}


def test_a_command_for_each_number():
    assert macro(DESIGN, title="two\nlines").splitlines() == [
        "# two",
        "# lines",
        "/mode_opt/gap 2.5 mm",
        "/mode_opt/plate 0 1.0 cm",
        "/mode_opt/plate 2 3.0 cm",
        "/mode_opt/layers 12",
        "/mode_opt/absorber G4_Pb",
        "/mode_opt/field 1.5 tesla",
        "/mode_opt/shift 50.8 mm",
        "# price: in EUR/kg",
        "/mode_opt/price 3000.0",
    ]


def test_of_a_design():
    parameters = {
        "gap": {"start": "300 um", "bounds": ["1 um", "1 mm"], "unit": "um"},
        "layers": {"kind": "integer", "start": 7, "bounds": [1, 20]},
        "absorber": {"start": "Pb", "options": ["Pb", "W"]},
    }
    text = macro(Design(parameters).concrete())
    assert text.splitlines() == ["/mode_opt/gap 300.0 um", "/mode_opt/layers 7", "/mode_opt/absorber Pb"]


def test_templates_of_ones_own():
    own = {
        "gap": "/det/setGap {value}*{unit}",
        "plate": "/det/plate/{index} {value} {unit}",
        "price": None,
        "field": "x",
    }
    template = MacroTemplate("/det/{name} {value} {unit}", category="/det/{name}/select {value}", parameters=own)
    assert macro(DESIGN, template).splitlines() == [
        "/det/setGap 2.5*mm",
        "/det/plate/0 1.0 cm",
        "/det/plate/2 3.0 cm",
        "/det/layers 12",
        "/det/absorber/select G4_Pb",
        "x",
        "/det/shift 50.8 mm",
    ]


@pytest.mark.parametrize(
    "text",
    ["/a {name}\n/control/shell rm", "{value.__class__}", "{0}", "{}", "{other}", "", " ", None, 3, "/a\r{name}"],
)
def test_templates_that_are_refused(text):
    for change in ({"number": text}, {"element": text}, {"category": text}):
        with pytest.raises(ConfigurationError, match="macro"):
            MacroTemplate(**change)
    if text is not None:
        with pytest.raises(ConfigurationError, match=r"macro\.parameters\.gap"):
            MacroTemplate(parameters={"gap": text})


@pytest.mark.parametrize("word", ["Pb\n/control/shell rm", "Pb; ls", "Pb {unit}", "", "../x", "{name}"])
def test_values_that_are_refused(word):
    with pytest.raises(ConfigurationError, match="word"):
        macro({"absorber": {"value": word, "unit": ""}})
    with pytest.raises(ConfigurationError, match="word"):
        macro({word: {"value": 1.0, "unit": ""}})


def test_a_template_of_an_unknown_parameter():
    with pytest.raises(ConfigurationError, match=r"macro\.parameters\.gaps"):
        macro(DESIGN, MacroTemplate(parameters={"gaps": "x"}))
