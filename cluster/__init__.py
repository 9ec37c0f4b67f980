"""Running it all: the ``parsec`` command, configuration, the embedded broker, the supervisor, the demo."""

from .config import Config, load
from .supervisor import Supervisor

__all__ = ["Config", "Supervisor", "load"]
