"""A virtual machine for PArSEC Streams whose contracts are lists of rules. README.md has the language."""

from .machine import Rules

__all__ = ["Rules"]
