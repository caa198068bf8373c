"""The figure of a front shows what the table says."""

import json

import numpy as np
import pytest

from mode_opt.errors import DataError
from mode_opt.report.front_figure import axes_of, figure_front, numbers_front, read_front, write_front

HEAD = (
    "point,role,minimised,status,loss,loss_standard_error,price,price_standard_error,on_front,certainty,met,"
    "limit_price,multiplier_price,multiplier_price_standard_error,design_x,design_material,directory,message"
)
ROWS = [
    "0,start,,measured,5,0.1,4,0.0,0,0.0,1,,,,1.0,Pb,,",
    "1,anchor,loss,finished,1,0.1,5,0.2,1,1.0,1,,,,2.0,W,anchors/loss,",
    "2,level,loss,finished,2,0.1,3,0.2,1,1.0,1,3,0.5,0.1,3.0,W,levels/01,",
    '3,level,loss,finished,6,0.1,4,0.2,0,0.0,1,2,,,4.0,W,levels/02,"worse, much"',
    "4,level,loss,finished,3,0.1,2.5,0.2,1,0.9,0,1,2,0.1,4.0,W,levels/03,beyond",
    "5,level,loss,failed,,,,,0,,1,0.5,,,,,levels/04,out of helium",
]


def write(folder, goals=("loss", "price"), rows=ROWS, head=HEAD):
    (folder / "front.csv").write_text("\n".join([head, *rows]) + "\n")
    units = {"price": "EUR"}
    (folder / "front.json").write_text(json.dumps({"goals": [{"name": g, "unit": units.get(g, "")} for g in goals]}))
    return axes_of(json.loads((folder / "front.json").read_text()), folder)


def points(axes, kind):
    container = next(c for c in axes.containers if c.get_label() == kind)
    return np.stack(container.lines[0].get_data(), 1).tolist()


def test_what_is_not_measured_is_left_out_and_every_point_is_what_it_is(tmp_path):
    goals = write(tmp_path)
    numbers = numbers_front(read_front(tmp_path), goals)
    kinds = ["start design", "not dominated", "not dominated", "dominated", "beyond its limit"]
    assert numbers.words("kind") == kinds and numbers.floats("point").tolist() == [0, 1, 2, 3, 4]
    (axes,) = figure_front(numbers, goals).axes
    assert points(axes, "not dominated") == [[5, 1], [3, 2]] and points(axes, "dominated") == [[4, 6]]
    assert points(axes, "start design") == [[4, 5]] and points(axes, "beyond its limit") == [[2.5, 3]]
    (line,) = (line for line in axes.lines if line.get_gid() == "front")
    assert np.stack(line.get_data(), 1).tolist() == [[3, 2], [5, 1]]
    assert axes.get_xlabel() == "price [EUR]" and axes.get_ylabel() == "loss"


def test_a_tangent_falls_by_the_multiplier_and_goes_through_its_point(tmp_path):
    goals = write(tmp_path)
    (axes,) = figure_front(numbers_front(read_front(tmp_path), goals), goals).axes
    lines = [line.get_data() for line in axes.lines if line.get_gid() == "tangent"]
    found = sorted((-(y[1] - y[0]) / (x[1] - x[0]), x.mean(), y.mean()) for x, y in map(np.array, lines))
    assert found == [pytest.approx((0.5, 3, 2)), pytest.approx((2, 2.5, 3))]


def test_a_start_far_away_is_named_and_does_not_squeeze_the_front(tmp_path):
    goals = write(tmp_path, rows=[ROWS[0].replace(",5,0.1,4,", ",50,0.1,4,"), *ROWS[1:3]])
    figure = figure_front(numbers_front(read_front(tmp_path), goals), goals)
    (axes,) = figure.axes
    assert axes.get_ylim()[1] < 5 and all(c.get_label() != "start design" for c in axes.containers)
    assert "start design: price 4, loss 50, not shown" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_three_goals_are_three_projections(tmp_path):
    head = HEAD.replace("on_front", "length,length_standard_error,on_front")
    rows = [row.replace(",0.2,1,", ",0.2,7,0.3,1,").replace(",0.0,0,", ",0.0,8,0,0,") for row in ROWS[:3]]
    goals = write(tmp_path, ("loss", "price", "length"), rows, head)
    figure = figure_front(numbers_front(read_front(tmp_path), goals), goals)
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert labels == [("price [EUR]", "loss"), ("length", "loss"), ("length", "price [EUR]")]
    assert points(figure.axes[1], "not dominated") == [[7, 1], [7, 2]]


def test_files_are_written_where_something_was_measured(tmp_path):
    write(tmp_path, rows=ROWS[-1:])
    assert write_front(tmp_path) is None and not (tmp_path / "figures").exists()
    write(tmp_path)
    assert write_front(tmp_path) == tmp_path / "figures" / "front.png"
    assert (tmp_path / "figures" / "front.pdf").is_file() and "5.0" in (tmp_path / "figures" / "front.csv").read_text()
    (tmp_path / "front.json").write_text("{}")
    with pytest.raises(DataError, match="goals"):
        write_front(tmp_path)
