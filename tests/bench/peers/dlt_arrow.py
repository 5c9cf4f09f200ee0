"""The file into the table by dlt: Arrow batches, and its Postgres destination told to load them as CSV or Parquet."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import dlt

from tests.bench.peers.job import batches, told


def _address(url: str) -> str:
    """With user, password and host in their places, where dlt asks for them; libpq takes the host of the query."""
    _, query = url.split("?")
    return f"postgresql://{parse_qs(query)['user'][0]}:none@localhost/postgres?{query}"


def main() -> None:
    job, file_format = told(), sys.argv[2]

    def rows() -> Iterator[Any]:
        with batches(job) as reader:
            yield from reader

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "bench",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(_address(job.url)),
            dataset_name=job.schema,
        )
        resource = dlt.resource(rows, name=job.table, write_disposition="append")
        pipeline.run(resource, loader_file_format=file_format).raise_on_failed_jobs()


if __name__ == "__main__":
    main()
