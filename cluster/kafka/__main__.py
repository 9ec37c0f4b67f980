"""``python -m cluster.kafka``: fetch what the embedded broker needs, and make it start fast."""

import sys

from cluster.kafka.jars import jar_folder
from cluster.kafka.prepare import prepare
from schemas.errors import ParsecError


def main() -> int:
    """Prepare, and say what is there."""
    try:
        archive = prepare()
    except ParsecError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{jar_folder()}\n{archive or 'no archive of classes with this Java'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
