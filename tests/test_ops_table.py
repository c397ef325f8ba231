"""The table of operations: its rows are complete, and take the inputs that they say."""

import re
from pathlib import Path

import pytest

from tsm_ref import ops_table
from tsm_ref.op_attributes import ATTRIBUTES
from tsm_ref.op_rules import REQUIRED
from tsm_ref.ops_table import OPS, PARAMETER_ROLES, Op


def test_an_op_of_which_nothing_is_said_does_not_stream():
    assert isinstance(Op(("x",), lambda inputs, attrs: inputs[0]).in_time, str)
    assert not Op(("x",), lambda inputs, attrs: inputs[0]).keeps_shape


@pytest.mark.parametrize("op", OPS)
def test_every_row_is_documented_and_its_attributes_are_known(op):
    row = OPS[op]
    assert set(row.attrs) <= set(ATTRIBUTES)
    assert row.statistics <= set(row.inputs)
    for name, default in row.attrs.items():
        if default is not REQUIRED and (op, name) != ("FusedConv", "d"):
            assert ATTRIBUTES[name][1](default), f"the default of {op}.{name} is refused"
    optional = [name.endswith("?") for name in row.inputs]
    assert optional == sorted(optional)


def test_the_table_of_the_docstring_names_real_ops():
    source = Path(ops_table.__file__).read_text(encoding="utf-8")
    text = source.partition('"""Every op that a')[2]
    named = re.findall(r"^``(\w+)`` ", text, re.MULTILINE)
    assert len(named) >= 10
    assert set(named) <= set(OPS)


def test_weights_are_told_from_values():
    roles = {name.rstrip("?") for row in OPS.values() for name in row.inputs}
    assert roles >= PARAMETER_ROLES
    assert {"x", "a", "b", "theta", "residual"}.isdisjoint(PARAMETER_ROLES)


@pytest.mark.parametrize(("op", "count"), [("Relu", 0), ("Relu", 2), ("Conv", 1), ("Conv", 4)])
def test_the_number_of_inputs_is_checked(op, count):
    with pytest.raises(ValueError, match=f"{count} inputs were given"):
        OPS[op].check(count, {})
