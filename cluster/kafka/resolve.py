"""Write ``jars.txt`` anew: ``python -m cluster.kafka.resolve``.

For whoever raises the version of Kafka: change `KAFKA_VERSION` or `LOG4J_VERSION`, run it, review what changed in the
list, licences included, and commit it.
"""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cluster.kafka.jars import KAFKA_VERSION, LIST, Jar, maven, sha256

if TYPE_CHECKING:
    from jgo.maven import Dependency, MavenContext

__all__ = ["LOG4J_VERSION", "main", "resolve"]

LOG4J_VERSION: Final = "2.24.3"
"""The version that Kafka itself depends on; its jars bring no binding of SLF4J."""

_KAFKA: Final = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
_BINDING: Final = f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J_VERSION}"
_PARENTS_MAX: Final = 10
_HEAD: Final = f"""\
# Jars of the embedded broker, Apache Kafka {KAFKA_VERSION}: coordinate, SHA-256, bytes, licence.
# Written by `python -m cluster.kafka.resolve`; don't edit.
"""


def resolve() -> tuple[Jar, ...]:
    """The artifacts that the broker needs at run time, by coordinate, with checksums of what the repositories hold."""
    with tempfile.TemporaryDirectory() as fresh:  # nothing that lies on this machine gets into the list
        return _resolve(maven(Path(fresh))[0])


def _resolve(context: "MavenContext") -> tuple[Jar, ...]:
    # Each by itself: resolved together, the project file of either manages the versions of both, and that of Log4j
    # names an old Kafka client.
    wanted: list[Dependency] = []
    for coordinate in (_KAFKA, _BINDING):
        direct, transitive = context.resolver.resolve([context.create_dependency(coordinate)])
        wanted += [*direct, *transitive]
    jars: dict[str, Jar] = {}
    for dependency in wanted:
        if dependency.optional:
            continue
        jar = _jar(dependency)
        known = jars.setdefault(f"{jar.group}:{jar.artifact}", jar)
        if known != jar:
            raise ValueError(f"two versions of one artifact: {known.coordinate} and {jar.coordinate}")
    return tuple(sorted(jars.values(), key=lambda jar: jar.coordinate))


def _jar(dependency: "Dependency") -> Jar:
    path = dependency.artifact.resolve()
    return Jar(
        group=dependency.groupId,
        artifact=dependency.artifactId,
        version=dependency.version,
        sha256=sha256(path),
        size=path.stat().st_size,
        licence=_licence(dependency),
    )


def _licence(dependency: "Dependency") -> str:
    """The licence that the project file or the nearest parent with one names."""
    context = dependency.context
    pom = dependency.artifact.component.pom()
    for _ in range(_PARENTS_MAX):
        licences = pom.elements("licenses/license")
        names = [licence.findtext("{*}name") or licence.findtext("name") for licence in licences]
        if stated := [name.strip() for name in names if name]:
            return " or ".join(stated)
        parent = context.pom_parent(pom)
        if parent is None:
            break
        pom = parent
    raise ValueError(f"{dependency} names no licence")


def main() -> int:
    """Write the list."""
    jars = resolve()
    LIST.write_text(_HEAD + "".join(f"{jar.line}\n" for jar in jars), encoding="utf-8")
    sys.stdout.write(f"{len(jars)} jars, {sum(jar.size for jar in jars) / 1e6:.1f} MB, in {LIST}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
