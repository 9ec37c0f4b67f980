"""Running it all: the ``parsec`` command, configuration, the embedded broker, the supervisor, the demo."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import Config, load
    from .supervisor import Supervisor

__all__ = ["Config", "Supervisor", "load"]

_MODULES = {"Config": "config", "load": "config", "Supervisor": "supervisor"}


def __getattr__(name: str) -> Any:
    """A name of this room, imported when it is asked for: the help of the command needs none of them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
