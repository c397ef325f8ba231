"""The weights of a network in the forms that kernels read, shared by all of its plans."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from tsm_ref.graph import Graph
from tsm_ref.kernels.conv import unpack_weights
from tsm_ref.system import memory

Array = NDArray[Any]

_LARGE = 1 << 18  # bytes of weights that are not kept twice
_LENT = 1 << 16  # bytes of weights that are worth being read again


class PackedWeights:
    """The parameters of a graph, plain until a kernel wants them packed.

    Large weights are kept in one form only: the original is recovered from the form ``direct``,
    whose exact inverse is known, or read once more by ``again``, if that is given.
    """

    def __init__(
        self,
        graph: Graph,
        plain: dict[str, Array],
        again: Callable[[], Mapping[str, Array]] | None = None,
    ) -> None:
        self.graph, self.plain, self.again = graph, plain, again
        self.packed: dict[tuple[str, str], Any] = {}

    def pack(self, name: str, form: str, make: Callable[[Array], Any]) -> Any:
        """Return a parameter in the form that a kernel reads; made once for all plans."""
        key = (name, form)
        if key not in self.packed:
            self.packed[key] = make(self.get(name))
            size = self.plain[name].nbytes
            if form.startswith("direct") or (self.again is not None and size >= _LARGE):
                del self.plain[name]
                if size >= _LARGE:
                    memory.trim()
        return self.packed[key]

    def get(self, name: str) -> Array:
        """Return a parameter as the graph has it."""
        if name not in self.plain:
            forms = {form: packed for (n, form), packed in self.packed.items() if n == name}
            direct = next((form for form in forms if form.startswith("direct")), None)
            if direct is not None:
                lanes = int(direct.removeprefix("direct "))
                shape = self.graph.parameters[name]
                self.plain[name] = unpack_weights(forms[direct], shape, lanes)
            elif self.again is not None:
                self.plain[name] = self.again()[name]
        return self.plain[name]


class LentWeights(Mapping[str, Array]):
    """The parameters of a graph; large ones are read ``again`` whenever they are looked at.

    Those that differ from what was `given` for them are kept, as the small ones are.
    """

    def __init__(
        self,
        weights: Mapping[str, Array],
        given: Mapping[str, Array],
        again: Callable[[], Mapping[str, Array]],
    ) -> None:
        self._again, self._names = again, tuple(weights)
        self._kept = {
            name: value
            for name, value in weights.items()
            if value is not given.get(name) or value.nbytes < _LENT
        }

    def __getitem__(self, name: str) -> Array:
        if name not in self._kept and name in self._names:
            return self._again()[name]
        return self._kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
