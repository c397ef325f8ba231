"""What a mutant is, and how one is written down."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from conformance.questions.conventions import Conventions
from conformance.testees.reference import Reference
from conformance.testees.reference_stream import ReferenceStream

Method = Callable[..., Any]


@dataclass(frozen=True)
class Mutant:
    """A wrong implementation: its class of mistake, the mistake in words, the replaced methods.

    ``preset`` names the conventions under which the mistake shows.
    """

    name: str
    kind: str
    mistake: str
    methods: Mapping[str, Any]
    preset: str = "mit"

    def make(self, conventions: Conventions | str | None = None) -> Reference:
        """A testee with this mistake."""
        wrong: type[Reference] = type("Mutant", (Reference,), dict(self.methods))
        testee = wrong(conventions or self.preset)
        testee.declaration = {**testee.declaration, "name": f"mutant {self.name}"}
        return testee


class Recorder(Reference):
    """The reference, which remembers what of it was used: only mutants of that can differ."""

    seen: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        Recorder.seen.add(name)
        return super().__getattribute__(name)


class Catalogue(dict[str, Mutant]):
    """The mutants of one module, filled by a decorator."""

    def mutant(
        self, name: str, kind: str, method: str, mistake: str, preset: str = "mit"
    ) -> Callable[[Method], Method]:
        """Register the decorated function as the replacement of a method of the reference.

        A docstring is not needed: `mistake` says what it does.
        """

        def register(function: Method) -> Method:
            if name in self:
                raise ValueError(f"there are two mutants {name!r}")
            self[name] = Mutant(name, kind, mistake, {method: function}, preset)
            return function

        return register

    def stream(
        self, name: str, kind: str, mistake: str, preset: str = "mit"
    ) -> Callable[[type], type]:
        """Register the decorated subclass of `ReferenceStream` as the mutant's stream."""

        def register(wrong: type) -> type:
            assert issubclass(wrong, ReferenceStream)
            self[name] = Mutant(name, kind, mistake, {"stream_class": wrong}, preset)
            return wrong

        return register
