"""The file into the table as Great Expectations' own pages would have it: `Batch.validate`, and COPY of what is good.

Bad rows are dropped. Uniqueness is judged within a batch only.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import great_expectations as gx
import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
from great_expectations.data_context.types.base import ProgressBarsConfig
from psycopg import sql

from tests.bench.peers.job import batches, told


def main() -> None:
    job = told()
    judge = Judge(job.suite)
    columns = sql.SQL(", ").join(map(sql.Identifier, job.columns))
    copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(sql.Identifier(job.schema, job.table), columns)
    with psycopg.connect(job.url) as connection, connection.cursor() as cursor, batches(job) as reader:
        for batch in reader:
            table = pa.Table.from_batches([batch])
            good = np.ones(table.num_rows, dtype=np.bool_)
            good[judge.bad_rows(table)] = False
            sink = io.BytesIO()
            pacsv.write_csv(table.filter(pa.array(good)), sink, pacsv.WriteOptions(include_header=False))
            with cursor.copy(copy) as stream:
                stream.write(sink.getbuffer())


class Judge:
    """A suite, ready for `Batch.validate`."""

    def __init__(self, suite: str) -> None:
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
        asset = context.data_sources.add_pandas("bench").add_dataframe_asset("frame")
        self._definition = asset.add_batch_definition_whole_dataframe("batch")
        told = json.loads(Path(suite).read_text(encoding="utf-8"))
        self._suite = gx.ExpectationSuite(**told)

    def bad_rows(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """The rows that break a rule that is not a mere warning.

        Raises:
            RuntimeError: a rule could not be evaluated.
        """
        batch = self._definition.get_batch({"dataframe": table.to_pandas()})
        result = batch.validate(
            self._suite,
            result_format={
                "result_format": "COMPLETE",
                "partial_unexpected_count": 0,
                "return_unexpected_index_query": False,
            },
        )
        bad: set[int] = set()
        for one in result.results:
            if any(isinstance(info, dict) and info.get("raised_exception") for info in one.exception_info.values()):
                raise RuntimeError(f"{one.expectation_config.type}: {one.exception_info}")
            if one.expectation_config.severity == "critical":
                bad.update(one.result["unexpected_index_list"] or ())
        return np.array(sorted(bad), np.int64)


if __name__ == "__main__":
    main()
