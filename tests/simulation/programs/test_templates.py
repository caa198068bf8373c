"""Numbers reach a program bit for bit, and nothing but numbers and names does."""

import pickle

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mode_opt.errors import ConfigurationError
from mode_opt.simulation.programs.templates import Template, value_of
from mode_opt.units import parse_unit

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def rendered(source, **context):
    return Template("key", source).render(context)


@given(FINITE)
def test_a_number_that_is_read_back_is_the_same(number):
    text = rendered("{{ x }}", x=number)
    assert float(text).hex() == number.hex()
    assert yaml.safe_load(text) == number
    assert isinstance(yaml.safe_load(text), float)


@given(st.lists(FINITE, max_size=4))
def test_so_is_each_of_a_list(numbers):
    looped = rendered("{% for x in v %}{{ x }} {% endfor %}", v=numbers)
    assert [float(each) for each in looped.split()] == numbers
    assert yaml.safe_load(rendered("{{ v }}", v=numbers)) == numbers


@given(FINITE, st.sampled_from(["mm", "cm", "GeV", "keV", "um", "deg", ""]))
def test_units_are_converted_from_those_of_the_field(number, unit):
    assert float(rendered(f"{{{{ x | to('{unit}') }}}}", x=number)) == number / parse_unit(unit).factor


def test_units_of_lists():
    assert rendered("{{ v | to('cm') }}", v=[10.0, 25.0]) == "[1.0, 2.5]"


def test_a_unit_must_fit_what_is_declared():
    x = value_of("gap", 3.0, parse_unit("cm"))
    assert rendered("{{ gap | to('mm') }} {{ gap }}", gap=x) == "3.0 3.0"
    with pytest.raises(ConfigurationError, match="gap is declared in cm"):
        rendered("{{ gap | to('MeV') }}", gap=x)
    with pytest.raises(ConfigurationError, match="declared"):
        rendered("{{ gap | to('MeV') }}", gap=value_of("gap", [1.0], parse_unit("cm")))
    with pytest.raises(ConfigurationError, match="known unit"):
        rendered("{{ gap | to('parsnip') }}", gap=1.0)
    with pytest.raises(ConfigurationError, match="no number"):
        rendered("{{ gap | to('mm') }}", gap="lead")


def test_integers():
    assert rendered("{{ n | integer }} {{ v | integer }}", n=2.9995, v=[1.0, -2.0]) == "3 [1, -2]"
    for wrong in (2.99, "3", float("inf")):
        with pytest.raises(ConfigurationError, match="whole number"):
            rendered("{{ n | integer }}", n=wrong)


@pytest.mark.parametrize("source", ["{{ x", "{% for %}", "{{ x | nonsense }}", "{{ x | random }}", "{% if x %}"])
def test_mistakes_are_found_when_a_template_is_made(source):
    with pytest.raises(ConfigurationError, match=r"program\.command.*Jinja2 template"):
        Template("program.command[1]", source)


def test_unknown_names_are_listed_with_the_known_ones():
    template = Template("program.inputs.run", "{{ gap }} {{ gpa }} {{ design['x'] }}")
    assert template.names == {"gap", "gpa", "design"}
    with pytest.raises(ConfigurationError, match=r"program\.inputs\.run: got 'gpa'.*among design, gap"):
        template.render({"gap": 1.0, "design": {"x": 1}})
    with pytest.raises(ConfigurationError, match="'y'"):
        rendered("{{ design['y'] }}", design={"x": 1})


@pytest.mark.parametrize(
    "source", ["{{ x.__class__ }}", "{{ x.__class__.__mro__ }}", "{{ ''.__class__ }}", "{{ 1 / 0 }}"]
)
def test_templates_stay_in_their_sandbox(source):
    with pytest.raises(ConfigurationError):
        rendered(source, x=1.0)


def test_a_text_is_no_template_again():
    assert rendered("{{ s }}", s="{{ 1 + 1 }}") == "{{ 1 + 1 }}"


@given(st.text(max_size=12))
def test_texts_of_a_design_are_names_or_refused(text):
    harmless = set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-")
    if text and harmless:
        assert value_of("s", text, None) == text
    else:
        with pytest.raises(ConfigurationError):
            value_of("s", text, None)


def test_values_that_are_neither_numbers_nor_names():
    for wrong in (None, {"a": 1}, True, [[None]]):
        with pytest.raises(ConfigurationError):
            value_of("s", wrong, None)


def test_lines_and_ends_are_kept_and_nothing_is_escaped():
    assert rendered("<a>\n{{ x }}\n", x="b") == "<a>\nb\n"
    assert rendered("a < b\n") == "a < b\n"


def test_a_template_can_be_sent():
    template = pickle.loads(pickle.dumps(Template("key", "{{ x }}")))
    assert template.render({"x": 1.5}) == "1.5"
