"""A plan: the record that a compiled kernel reads, and the arrays whose addresses stand in it."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Plan(NamedTuple):
    """One layer, ready to run as long as `owned` lives."""

    record: NDArray[Any]  # zero-dimensional, of the dtype of its kind
    owned: tuple[NDArray[Any], ...]

    @property
    def bytes(self) -> int:
        """Bytes of the tables and weights that the plan holds."""
        return sum(array.nbytes for array in self.owned)


def planned(kind_of_plan: np.dtype[Any], /, **fields: Any) -> Plan:
    """Return a plan; an array given for a field is kept, and its address written down.

    >>> table = np.arange(3)
    >>> plan = planned(np.dtype([("table", np.int64), ("count", np.int64)]), table=table, count=3)
    >>> int(plan.record["table"]) == table.ctypes.data, int(plan.record["count"])
    (True, 3)
    """
    record = np.zeros((), kind_of_plan)
    owned = []
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            if not value.flags.c_contiguous:
                raise ValueError(f"`{name}` must be contiguous")
            owned.append(value)
            value = value.ctypes.data
        record[name] = value
    return Plan(record, tuple(owned))
