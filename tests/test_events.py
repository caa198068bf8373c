import pytest
import torch

from mode_opt.errors import ShapeError
from mode_opt.events import Events


def events(b=2, n=3, h=4, f=2, t=1, recorded=True):
    return Events.of(
        torch.rand(b, n, t),
        torch.rand(b, n, h, f),
        log_probability=torch.rand(b, n, requires_grad=True) if recorded else None,
    )


def test_defaults_are_real_hits_and_weights_of_one():
    batch = events()
    assert batch.mask.all() and batch.weight.eq(1).all() and (batch.designs, batch.count) == (2, 3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("truth", torch.zeros(2, 3), "Events.truth: got shape .* expected b x n x t"),
        ("hits", torch.zeros(2, 9, 4, 2), "Events.hits"),
        ("mask", torch.ones(2, 3, 5, dtype=torch.bool), "Events.mask"),
        ("weight", torch.ones(2, 4), "Events.weight"),
        ("log_probability", torch.ones(3), "Events.log_probability"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(field, value, message):
    batch = events()
    parts = {name: getattr(batch, name) for name in ("truth", "hits", "mask", "weight", "log_probability")}
    with pytest.raises(ShapeError, match=message):
        Events(**{**parts, field: value})


def test_cat_and_select_are_inverse():
    batch = events(n=5)
    joined = Events.cat([batch.select(slice(0, 2)), batch.select(torch.tensor([2, 3, 4]))])
    for name in ("truth", "hits", "mask", "weight", "log_probability"):
        assert torch.equal(getattr(joined, name), getattr(batch, name))


def test_cat_refuses_to_forget_recorded_choices():
    with pytest.raises(ShapeError, match="recorded in all 2 parts or in none"):
        Events.cat([events(), events(recorded=False)])


def test_cat_along_designs_and_taking_one_out():
    first, second = events(b=1), events(b=1)
    assert torch.equal(Events.cat([first, second], dim=0).design(1).hits, second.hits)


def test_expand_repeats_one_design_and_refuses_others():
    assert events(b=1).expand(7).hits.shape == (7, 3, 4, 2)
    with pytest.raises(ShapeError, match="1 or 7 designs"):
        events(b=2).expand(7)


def test_detach_drops_derivatives_and_weights_multiply():
    batch = events()
    assert batch.log_probability.requires_grad and not batch.detach().log_probability.requires_grad
    assert batch.reweighted(torch.full((2, 3), 2.0)).reweighted(torch.full((2, 3), 3.0)).weight.eq(6).all()


def test_choices_add_up():
    batch = events(recorded=False).with_choices(torch.full((2, 3), -1.0)).with_choices(torch.full((2, 3), -2.0))
    assert batch.log_probability.eq(-3).all()
