"""Parameters that exist under a condition."""

from typing import Any

import pytest
import torch

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError

LAYERS = {"kind": "integer", "start": 3, "bounds": [1, 6]}


def layered(**changes: Any) -> Design:
    thickness = {"start": 2.0, "bounds": [1, 5], "unit": "mm", "size": 6, "when": "index < layers", **changes}
    return Design({"layers": LAYERS, "thickness": thickness}, {"length": "sum(thickness)"}, ["length <= 20 mm"])


def test_layers_that_exist() -> None:
    design = layered()
    assert design.concrete()["thickness"]["value"] == [2.0, 2.0, 2.0, None, None, None]
    assert design.buildable()["thickness"].tolist() == [[2.0, 2.0, 2.0, 0.0, 0.0, 0.0]]
    assert design.buildable()["length"].item() == pytest.approx(6.0)
    assert design()["length"].item() == pytest.approx(6.0, rel=0.02), "relaxed, but close"
    assert not design.constraints[0].linear
    built = design.buildable()
    torch.testing.assert_close(design.buildable(built).values, built.values)
    assert design.concrete(built) == design.concrete()


def test_the_number_of_layers_has_a_derivative() -> None:
    """From n to n + 1 layers the relaxed length grows by one thickness, and so integrates the derivative."""
    design = layered().double()
    counts = torch.linspace(3, 4, 201, dtype=torch.float64)
    slopes = []
    for count in counts.tolist():
        raw = {name: value.clone() for name, value in design.system.start.items()}
        raw["layers"] = torch.tensor([[count]], dtype=torch.float64, requires_grad=True)
        length = design.system.assemble(raw)[:, 1:].sum()
        slopes.append(torch.autograd.grad(length, raw["layers"])[0].item())
    assert min(slopes) > 0.1
    assert torch.trapezoid(torch.tensor(slopes, dtype=torch.float64), counts).item() == pytest.approx(2.0, rel=0.02)


def test_assign_is_the_inverse_of_concrete() -> None:
    design = layered()
    design.assign({"layers": 4, "thickness": [1.5, 2.5, 3.5, 4.5, None, None]})
    report = design.concrete()
    assert report["thickness"]["value"] == [1.5, 2.5, 3.5, 4.5, None, None]
    design.assign(report)
    assert design.concrete() == report


def test_materials_numbers_and_logic() -> None:
    design = Design(
        {
            "absorber": {"start": {"Pb": 0.6, "Fe": 0.4}, "options": ["Pb", "Fe"]},
            "x": {"start": 4.0, "bounds": [0, 10], "unit": "mm"},
            "coating": {"start": 1.0, "unit": "mm", "when": "absorber == 'Pb'"},
            "shield": {"start": 1.0, "when": "x > 3 mm"},
            "both": {"start": 1.0, "when": "x > 3 mm and not absorber == 'Fe'"},
            "sharp": {"start": 1.0, "when": {"condition": "x < 3 mm or x > 9 mm", "width": "1 um"}},
        }
    )
    phi = {name: value.item() for name, value in design.named().items() if value.shape[1] == 1}
    step = torch.sigmoid(torch.tensor(1.0 / (0.05 * 5))).item()
    assert phi["coating"] == pytest.approx(0.6)
    assert phi["shield"] == pytest.approx(step)
    assert phi["both"] == pytest.approx(0.6 * step)
    assert phi["sharp"] == pytest.approx(0.0, abs=1e-9)
    report = design.concrete()
    assert [report[n]["value"] for n in ("coating", "shield", "both", "sharp")] == [1.0, 1.0, 1.0, None]


def test_with_a_fixed_condition_all_is_exact_and_linear() -> None:
    layers = {**LAYERS, "free": False}
    thickness = {"start": 2.0, "bounds": [1, 5], "unit": "mm", "size": 6, "when": "index < layers"}
    design = Design({"layers": layers, "t": thickness}, {}, ["sum(t) <= 7 mm"])
    assert design()["t"].tolist() == [[2.0, 2.0, 2.0, 0.0, 0.0, 0.0]]
    assert design.constraints[0].linear
    psi = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * 10
    assert 6.9 < float(design.point(psi)["t"].sum(1).max()) <= 7.0


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("layers", r"thickness\.when: got 'layers', expected a condition such as"),
        ("layers > 3 mm", r"thickness\.when: .* units that fit"),
        ("thickness > 3 mm", r"thickness\.when: .* a condition on parameters that always exist"),
        ({"condition": "layers > 3", "wide": 1}, r"thickness\.when\.wide: got 1, expected no such key"),
        (
            {"condition": "layers > 3", "width": 0},
            r"thickness\.when\.width: got 0, expected a positive width",
        ),
        ("layers * layers > 3.5", r"thickness\.when: .* a width too"),
    ],
)
def test_refusals(when: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        layered(when=when)
