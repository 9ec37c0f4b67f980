"""The commands of ``parsec``, a module for each; `cluster.cli` names them."""

__all__: list[str] = []
