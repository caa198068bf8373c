"""Random geometries for the tests that write and read them."""

import string

from hypothesis import strategies as st

from mode_opt.geometry import Box, Cone, Material, Placement, Price, Tube, Volume, material

LENGTHS = st.floats(1e-3, 1e4)
ANGLES = st.floats(-3.0, 3.0)
PRICES = st.none() | st.builds(
    Price, st.floats(0, 1e6), st.sampled_from(["EUR", "CHF"]), st.sampled_from(["kg", "mm^3"])
)
NAMES = (
    st.text(string.ascii_letters + string.digits + "_.-", max_size=6).map("v".__add__).filter(lambda n: "0x" not in n)
)
LIBRARY = st.sampled_from(["Pb", "PbWO4", "air", "vacuum", "G10"]).map(material)


@st.composite
def mixtures(draw):
    shares = draw(st.lists(st.floats(0.1, 1), min_size=1, max_size=4))
    composition = {s: w / sum(shares) for s, w in zip(("H", "C", "Fe", "U"), shares, strict=False)}
    return Material.of("mixture", draw(st.floats(1e-3, 20)), composition, draw(st.sampled_from(["solid", "gas"])))


@st.composite
def solids(draw):
    kind = draw(st.sampled_from([Box, Tube, Cone]))
    if kind is Box:
        return Box(draw(LENGTHS), draw(LENGTHS), draw(LENGTHS))
    rings = [(outer, outer * draw(st.floats(0, 0.99))) for outer in (draw(LENGTHS), draw(LENGTHS))]
    angles = draw(ANGLES), draw(st.floats(0.01, 6.28) | st.just(Tube(1, 1).opening))
    (outer, inner), (far_outer, far_inner) = rings
    if kind is Tube:
        return Tube(outer, draw(LENGTHS), inner, *angles)
    return Cone(outer, far_outer, draw(LENGTHS), inner, far_inner, *angles)


PLACES = st.floats(-1e4, 1e4)
PLACEMENTS = st.builds(
    Placement, st.tuples(PLACES, PLACES, PLACES), st.tuples(ANGLES, ANGLES, ANGLES) | st.just((0.0,) * 3)
)


def volumes(children, mixture, placements=PLACEMENTS):
    return st.builds(
        Volume,
        NAMES,
        solids(),
        LIBRARY | st.just(mixture),
        placements,
        st.just(()) if children is None else st.lists(children, max_size=3, unique_by=lambda v: v.name).map(tuple),
        st.booleans(),
        st.integers(0, 1000),
        PRICES | st.just(Price(12.5, "USD")),
        st.none() | NAMES,
    )


@st.composite
def worlds(draw):
    """A tree up to four deep, not tidy: nothing says that daughters fit."""
    mixture = draw(mixtures())
    tree = volumes(None, mixture)
    for _ in range(2):
        tree = volumes(tree, mixture)
    return draw(volumes(tree, mixture, st.just(Placement())))
