"""What the simulator raises."""


class Violation(Exception):
    """An invariant of the protocol does not hold."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        """A short name of the invariant."""
        self.detail = detail
