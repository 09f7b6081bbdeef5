"""The complement expression: exactly the names that are not on a list."""

import re

from hypothesis import given
from hypothesis import strategies as st

from freehold.edge.headers import REQUEST, RESPONSE, outside

_letters = "abh-o:st"
_name = st.text(_letters, min_size=1, max_size=7)


@given(st.sets(_name.filter(lambda name: not name.startswith(":")), max_size=6), _name)
def test_outside_is_the_complement(names: set[str], probe: str) -> None:
    kept = probe in names or probe == "host" or probe.startswith(":")
    assert (re.fullmatch(outside(names), probe) is None) == kept


@given(st.sampled_from((REQUEST, RESPONSE)), st.data())
def test_near_misses_of_the_real_lists_are_outside(names: tuple[str, ...], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names))
    at = data.draw(st.integers(0, len(name)))
    other = data.draw(st.sampled_from((name[:at] + "z" + name[at:], name[:at] + name[at + 1 :], name + "-x")))
    expression = outside(names)
    assert re.fullmatch(expression, name) is None
    assert (re.fullmatch(expression, other) is None) == (other in names)
