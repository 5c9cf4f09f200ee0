"""What a peer is told: one JSON file, as peers run in an environment without Sluice."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Text bytes of a batch: some 90,000 customers, as much as the peers' own examples take at a time.
BLOCK_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Job:
    """A CSV file with a header, and the table that is there for it.

    Attributes:
        columns: name -> type (`bigint`, `text`, ...), in the file's order.
        suite: path of the suite.json.
    """

    source: str
    url: str
    schema: str
    table: str
    columns: dict[str, str]
    suite: str

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def told() -> Job:
    """The job whose file the command line names."""
    return Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


@contextmanager
def batches(job: Job) -> Iterator[Any]:
    """The file as a pyarrow RecordBatchReader of the table's types."""
    import pyarrow as pa
    import pyarrow.csv as pacsv

    types = {"bigint": pa.int64(), "integer": pa.int32(), "text": pa.string(), "date": pa.date32()}
    reader = pacsv.open_csv(
        job.source,
        read_options=pacsv.ReadOptions(column_names=list(job.columns), skip_rows=1, block_size=BLOCK_BYTES),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types={name: types.get(kind, pa.decimal128(12, 2)) for name, kind in job.columns.items()},
            strings_can_be_null=True,
        ),
    )
    with reader:
        yield reader
