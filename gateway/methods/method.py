"""What a method is: a name, parameters, and a function whose docstring describes it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import InvalidParameter
from gateway.node import Node
from gateway.parameters import Malformed

REQUIRED: Final = object()
"""The default of a parameter that has none."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One position of `params`."""

    name: str
    read: Callable[[Any], Any]
    """From JSON; raises `Malformed` with what is wrong."""
    default: Any = REQUIRED
    """Taken where the client gives nothing or null."""


@dataclass(frozen=True, slots=True)
class Method:
    """An entry of the table of methods."""

    name: str
    run: Callable[..., Any]
    """Gets the node and the parameters in their order, gives JSON."""
    parameters: tuple[Parameter, ...] = ()

    @property
    def description(self) -> str:
        """What the method does, for people."""
        return (self.run.__doc__ or "").strip()

    def __call__(self, node: Node, params: list[Any]) -> Any:
        """Run it.

        Raises
        ------
        InvalidParameter
            Names the parameter and what is wrong with it.
        """
        if len(params) > len(self.parameters):
            raise InvalidParameter(f"too many parameters: {len(params)}, {self.name} takes {len(self.parameters)}")
        given = [*params, *[None] * (len(self.parameters) - len(params))]
        return self.run(node, *map(self._read, range(len(given)), given))

    def _read(self, position: int, value: Any) -> Any:
        parameter = self.parameters[position]
        if value is None:
            if parameter.default is REQUIRED:
                raise InvalidParameter(f"missing parameter {position}, {parameter.name}")
            return parameter.default
        try:
            return parameter.read(value)
        except Malformed as exc:
            raise InvalidParameter(f"invalid parameter {position}, {parameter.name}: {exc}") from exc
