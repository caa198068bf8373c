"""Specifications as in YAML: what is understood, and how every refusal names its key."""

import math
from typing import Any

import pytest
import torch

from mode_opt.design import Categorical, Continuous, Design, Integer, Linked
from mode_opt.errors import ConfigurationError

GAP = {"start": 2.5, "bounds": [0.5, 8.0], "unit": "mm"}


def test_specifications_and_classes_agree() -> None:
    specs: dict[str, Any] = {
        "gap": GAP,
        "layers": {"kind": "integer", "start": 50, "bounds": [10, 100]},
        "absorber": {"start": "Pb", "options": ["PbWO4", "Pb", "Fe"]},
        "cell": {"expression": "gap + 1 cm", "unit": "cm", "bounds": [1, 2]},
    }
    classes = {
        "gap": Continuous(2.5, (0.5, 8.0), "mm"),
        "layers": Integer(50, (10, 100)),
        "absorber": Categorical("Pb", ("PbWO4", "Pb", "Fe")),
        "cell": Linked("gap + 1 cm", "cm", (1, 2)),
    }
    first, second = Design(specs), Design(classes)
    torch.testing.assert_close(first().values, second().values)
    assert first.concrete() == second.concrete()
    assert first.concrete()["cell"] == {"value": 1.25, "unit": "cm"}
    assert first.free_names == ("gap", "layers", "absorber")


def test_units_of_bounds_start_and_grid() -> None:
    design = Design({"gap": {"start": "0.25 cm", "bounds": ["0.5 mm", 1.0], "unit": "cm", "grid": "0.5 mm"}})
    assert design()["gap"].item() == pytest.approx(2.5)
    assert design.declaration.blocks["gap"].upper == (10.0,)
    assert design.declaration.blocks["gap"].grid == 0.5
    assert design.concrete() == {"gap": {"value": 0.25, "unit": "cm"}}


def test_arrays() -> None:
    design = Design({"b": {"start": [1, 2, 3], "bounds": [0, [2, 3, 4]], "unit": "mm"}, "c": {"start": 1, "size": 2}})
    assert design()["b"].tolist() == [[1.0, 2.0, 3.0]]
    assert design()["c"].tolist() == [[1.0, 1.0]]
    assert design.concrete()["b"]["value"] == [1.0, 2.0, 3.0]
    assert list(design.columns()) == ["b[0]", "b[1]", "b[2]", "c[0]", "c[1]"]


def test_normalised_is_about_one() -> None:
    design = Design({"a": GAP, "x": {"start": 3.0}, "f": {"start": 3.0, "free": False, "bounds": [1, 5]}})
    assert design.point(torch.tensor([[50.0, 0.0]])).normalised()[0].tolist() == pytest.approx(
        [1.0, 0.0, 0.0], abs=1e-6
    )


def test_numbers_of_options_enter_expressions() -> None:
    options = {"PbWO4": {"density": "8.28 g/cm^3"}, "Pb": {"density": "11.35 g/cm^3"}}
    design = Design(
        {
            "absorber": {"start": {"PbWO4": 0.75, "Pb": 0.25}, "options": options},
            "v": {"start": 2, "unit": "l"},
        },
        {"mass": {"expression": "absorber.density * v", "unit": "kg"}},
    )
    assert design()["mass"].item() == pytest.approx(2 * (0.75 * 8.28 + 0.25 * 11.35), rel=1e-6)
    assert design()["absorber"].tolist()[0] == pytest.approx([0.75, 0.25])


def test_a_category_starts_as_the_likeliest_but_within_reach_of_others() -> None:
    design = Design({"absorber": {"start": "Pb", "options": ["PbWO4", "Pb", "Fe"]}})
    assert design()["absorber"].tolist()[0] == pytest.approx([1 / 6, 2 / 3, 1 / 6])
    fixed = Design({"absorber": {"start": "Pb", "options": ["PbWO4", "Pb"], "free": False}})
    assert fixed()["absorber"].tolist() == [[0.0, 1.0]]


def test_linked_chain_follows() -> None:
    design = Design(
        {
            "c": {"expression": "b / 2"},
            "b": {"expression": "8 mm - a", "unit": "mm"},
            "a": {"start": 3, "unit": "mm"},
        },
        {"twice": "2 * thrice", "thrice": "3 * c"},
    )
    assert [design()[name].item() for name in ("a", "b", "c", "thrice", "twice")] == [
        3.0,
        5.0,
        2.5,
        7.5,
        15.0,
    ]
    assert tuple(design.named()) == ("c", "b", "a", "twice", "thrice")


PARAMETERS: list[tuple[Any, str]] = [
    (4.5, r"design\.parameters\.gap: got 4\.5, expected a mapping such as"),
    (
        {**GAP, "bound": [0, 1]},
        r"parameters\.gap\.bound: .* no such key; a continuous parameter has start, bounds",
    ),
    ({"bounds": [0, 1]}, r"design\.parameters\.gap\.start: got None, expected a value"),
    (
        {**GAP, "kind": "real"},
        r"design\.parameters\.gap\.kind: got 'real', expected one of continuous, integer",
    ),
    (
        {**GAP, "start": 9.0},
        r"design\.parameters\.gap\.start: got 9\.0, expected .* the bounds \[0\.5, 8\] mm",
    ),
    ({**GAP, "start": math.nan}, r"design\.parameters\.gap\.start: got nan"),
    ({**GAP, "start": math.inf}, r"design\.parameters\.gap\.start: got inf, expected a finite number"),
    ({**GAP, "start": "2 kg"}, r"design\.parameters\.gap\.start: got '2 kg', expected a unit that fits"),
    ({**GAP, "unit": "mmm mm"}, r"design\.parameters\.gap\.unit: got 'mmm mm', expected a known unit"),
    (
        {**GAP, "bounds": [8, 0.5]},
        r"design\.parameters\.gap\.bounds: got \[8, 0\.5\], expected the lowest value first",
    ),
    ({**GAP, "bounds": [2.5, 2.5]}, r"gap\.bounds: .* the lowest value first, then a higher one"),
    ({**GAP, "bounds": 3}, r"gap\.bounds: got 3, expected a pair"),
    ({**GAP, "bounds": [0, math.nan]}, r"gap\.bounds: got nan"),
    ({**GAP, "bounds": ["1 kg", 3]}, r"gap\.bounds: got '1 kg', expected a unit that fits"),
    ({**GAP, "size": 0}, r"gap\.size: got 0, expected a whole number"),
    ({**GAP, "size": 3, "start": [1, 2]}, r"gap\.start: got \(1, 2\), expected one number or 3 of them"),
    ({**GAP, "grid": -1}, r"gap\.grid: got -1, expected a positive step"),
    ({**GAP, "grid": []}, r"gap\.grid: .* at least one stock value"),
    ({**GAP, "free": "no"}, r"gap\.free: got 'no', expected true or false"),
    ({**GAP, "scale": "cubic"}, r"gap\.scale: got 'cubic', expected linear or log"),
    ({**GAP, "bounds": [0, 3], "scale": "log"}, r"gap\.scale: got 'log', expected positive"),
    ({"kind": "integer", "start": 2.5}, r"gap\.start: got 2\.5, expected a whole number"),
    ({"start": "Cu", "options": ["Pb", "Fe"]}, r"gap\.start: got 'Cu', expected one of the options Pb, Fe"),
    ({"start": "Pb", "options": ["Pb"]}, r"gap\.options: got \['Pb'\], expected at least two"),
    (
        {"start": "Pb", "options": {"Pb": {"x": 1}, "Fe": {}}},
        r"gap\.options\.Fe\.x: got None, expected a number",
    ),
    (
        {"start": "Pb", "options": {"Pb": {"x": "1 kg"}, "Fe": {"x": "1 mm"}}},
        r"gap\.options\.Fe\.x: got '1 mm'",
    ),
    ({"start": {"Pb": -1, "Fe": 2}, "options": ["Pb", "Fe"]}, r"gap\.start: .* or their probabilities"),
    ({"expression": "gap + 1"}, r"gap\.expression: .* does not depend on 'gap' itself"),
    (
        {"expression": "1 kg", "unit": "mm"},
        r"gap\.expression: got '1 kg', expected a value in mm as declared",
    ),
    ({"expression": "1 kg", "start": 3}, r"gap\.start: got 3, expected no such key; a linked parameter has"),
    ({"start": 1, "when": "other > 3"}, r"gap\.when: .* 'other' is none of"),
    ({"start": 1, "when": "3"}, r"gap\.when: got '3', expected a condition such as"),
]


@pytest.mark.parametrize(("spec", "message"), PARAMETERS)
def test_refused_specifications(spec: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Design({"gap": spec})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), r"design\.parameters: got \{\}, expected at least one parameter"),
        (([1],), r"design\.parameters: .* a mapping of names"),
        (({"sum": GAP},), r"design\.parameters: got 'sum', expected a name"),
        (({"a b": GAP},), r"design\.parameters: got 'a b', expected a name"),
        (({"gap": GAP}, {"gap": "1"}), r"design\.derived\.gap: .* a name that no parameter has"),
        (
            ({"gap": GAP}, {"x": "gap > 1 mm"}),
            r"design\.derived\.x\.expression: .* a number, not a comparison",
        ),
        (({"gap": GAP}, {"x": {"formula": "gap"}}), r"design\.derived\.x\.formula: .* no such key"),
        (({"gap": GAP}, {"x": "y", "y": "x"}), r"design\.derived\.[xy]\.expression: .* does not depend on"),
        (({"gap": GAP}, {}, "gap <= 3 mm"), r"design\.constraints: .* a list of inequalities"),
        (({"gap": GAP}, {}, ["gap"]), r"design\.constraints\[0\]: got 'gap', expected one inequality"),
        (
            ({"gap": GAP}, {}, ["gap == 3 mm"]),
            r"design\.constraints\[0\]: .* make one of its parameters a linked one",
        ),
        (
            ({"gap": GAP}, {}, ["gap <= 400 kg"]),
            r"design\.constraints\[0\]: got 'gap <= 400 kg', .* units that fit",
        ),
        (({"gap": GAP}, {}, [{"expression": "gap <= 3 mm", "nam": "x"}]), r"design\.constraints\[0\]\.nam: "),
        (
            ({"gap": GAP}, {}, ["gap <= 2 mm"]),
            r"design\.constraints\.gap: got 'the start .* gap = 2\.5 mm', expected at most 2 mm",
        ),
        (
            ({"gap": GAP}, {}, ["gap <= 3 mm", "gap <= 4 mm", "gap <= 5 mm"]),
            r"design\.constraints: .* a 'name'",
        ),
        (
            ({"gap": GAP}, {}, ["gap <= 3 mm", "gap >= 4 mm"]),
            r"design\.constraints: got \['gap', 'gap_minimum'\], .* that leave room",
        ),
        (
            ({"gap": {**GAP, "free": False}}, {}, ["gap <= 2 mm"]),
            r"design\.constraints\.gap: got 'a design without free",
        ),
    ],
)
def test_refused_designs(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Design(*arguments)
