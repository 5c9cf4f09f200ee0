"""The file into the table by pandas: `to_sql` as it comes, or with `method="multi"`."""

from __future__ import annotations

import sys

import pandas as pd
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from tests.bench.peers.job import Job, told

#: Rows a frame. With method="multi" each is one statement, which PostgreSQL limits to 65,535 parameters.
ROWS, MULTI_PARAMETERS = 100_000, 60_000


def main() -> None:
    job = told()
    driver, method = sys.argv[2:]
    multi = method == "multi"
    engine = create_engine(make_url(job.url).set(drivername=f"postgresql+{driver}"))
    with engine.begin() as connection, frames(job) as chunks:
        for frame in chunks:
            frame.to_sql(
                job.table,
                connection,
                schema=job.schema,
                if_exists="append",
                index=False,
                method="multi" if multi else None,
                chunksize=MULTI_PARAMETERS // len(job.columns) if multi else None,
            )


def frames(job: Job) -> pd.io.parsers.TextFileReader:
    """The file in pandas' own reading."""
    text = {name: "str" for name, kind in job.columns.items() if kind == "text"}
    dates = [name for name, kind in job.columns.items() if kind == "date"]
    return pd.read_csv(job.source, names=list(job.columns), header=0, dtype=text, parse_dates=dates, chunksize=ROWS)


if __name__ == "__main__":
    main()
