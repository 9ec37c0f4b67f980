# One image for all services; the command says which: "sequencer", "shard --shard 0", "executor", "gateway", "topics".
FROM python:3.11-slim

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY streams streams
COPY ingest ingest
COPY executors executors
COPY stateshards stateshards
COPY ledger ledger
COPY gateway gateway
COPY client client
COPY conformance conformance
COPY cluster cluster
RUN pip install --no-cache-dir . && useradd --create-home --uid 10001 parsec && mkdir /data && chown parsec /data

USER parsec
WORKDIR /data
VOLUME /data
ENV PARSEC_CLUSTER_DATA=/data
ENTRYPOINT ["parsec"]
CMD ["--help"]
