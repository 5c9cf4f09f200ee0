"""The file into the table by Arrow's ADBC driver: binary COPY, no checks but the types'."""

from __future__ import annotations

from adbc_driver_postgresql import dbapi

from tests.bench.peers.job import batches, told


def main() -> None:
    job = told()
    with dbapi.connect(job.url) as connection, connection.cursor() as cursor, batches(job) as reader:
        cursor.adbc_ingest(job.table, reader, mode="append", db_schema_name=job.schema)
        connection.commit()


if __name__ == "__main__":
    main()
