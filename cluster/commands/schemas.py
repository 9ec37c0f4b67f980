"""``parsec schemas``: the contract with other programs."""

import json

import click

from schemas.codec import RECORDS, rabin, schema_name, schema_text
from schemas.errors import ConfigurationError

from .options import json_option
from .printing import print_json


@click.command
@click.argument("name", required=False)
@json_option
def schemas(name: str | None, as_json: bool) -> None:
    """Print the Avro schemas of the topics.

    With NAME (envelope, receipt …) that schema, as its .avsc file; without, a list of all with their fingerprints.
    A record is Avro's single-object encoding: C3 01, the fingerprint of the schema (CRC-64-AVRO, 8 bytes), the body.
    """
    kinds = {schema_name(kind): kind for kind in RECORDS}
    if name is not None:
        wanted = name.removesuffix(".avsc").lower()
        kind = kinds.get(wanted) or {each.__name__.lower(): each for each in RECORDS}.get(wanted)
        if kind is None:
            raise ConfigurationError(f"there is no schema {name!r}; there are {', '.join(sorted(kinds))}")
        text = schema_text(kind)
        if as_json:
            print_json(json.loads(text))
        else:
            click.echo(text, nl=not text.endswith("\n"))
        return
    documents = {each: json.loads(schema_text(kind)) for each, kind in kinds.items()}
    if as_json:
        print_json(documents)
        return
    for each, document in documents.items():
        click.echo(f"{each:13} {rabin(document).hex()}  {document['doc']}")
