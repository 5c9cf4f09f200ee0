"""The files the benchmark imports: any number of rows, made at the speed of the disk.

A few blocks of rows are made once, the way the samples are. The file repeats them in turn, and in every repetition
each row's number and key are written over in place, so that no two rows have the same. The same call writes the same
bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from samples.make import BLOCK, FIRST, LAST, Customers

#: The first row's number. All have nine digits, so that one fits over the other; enough for files of 160 GB.
FIRST_NUMBER = 100_000_000

#: Different blocks in a file, so that no two neighbouring chunks are alike.
_BLOCKS = 4

_NUMBER_BYTES, _KEY_BYTES = 9, 15

_DIGITS = np.frombuffer(b"0123456789", np.uint8)
_HEX_DIGITS = np.frombuffer(b"0123456789aBcDeF", np.uint8)

#: Keys are numbers below 2**60, mixed in steps that each permute them (as SplitMix does): in no order, and none twice.
_KEYS = np.uint64(2**60 - 1)
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))

Bytes = npt.NDArray[np.uint8]


class Kind(StrEnum):
    """What the rows are."""

    CUSTOMERS = "customers"  # 12 columns as in the sample, some 190 bytes a row
    NARROW = "narrow"
    WIDE = "wide"


#: Column -> type, as in a dataset.yaml.
NARROW = {"id": "bigint", "name": "text", "amount": "numeric(12,2)"}
WIDE = {"id": "bigint"} | {
    f"{name}_{at:02}": kind
    for name, kind, count in (
        ("count", "integer", 31),
        ("amount", "numeric(12,2)", 21),
        ("day", "date", 10),
        ("word", "text", 31),
    )
    for at in range(1, count + 1)
}

#: Rows of a block: some megabytes of text each.
_BLOCK_ROWS = {Kind.CUSTOMERS: BLOCK, Kind.NARROW: 100_000, Kind.WIDE: 5_000}

#: The number a row begins with, and the bytes of the key behind it. Rows that are bad in one of the two begin
#: otherwise and stay as they are: they are rejected before anybody looks for their key.
_BEGIN = {
    Kind.CUSTOMERS: (re.compile(rb"^\d+(?=,[0-9A-Fa-f]{15},)", re.MULTILINE), _KEY_BYTES),
    Kind.NARROW: (re.compile(rb"^\d+(?=,)", re.MULTILINE), 0),
    Kind.WIDE: (re.compile(rb"^\d+(?=,)", re.MULTILINE), 0),
}


@dataclass(frozen=True, slots=True)
class Data:
    """A file: what its rows are, how many, and the percentage of them that is bad or has a quoted line end.

    Only customers can be either.
    """

    kind: Kind
    rows: int
    bad: float = 0.0
    newlines: float = 0.0

    @property
    def name(self) -> str:
        marks = [f"{share:g}{what}" for what, share in (("bad", self.bad), ("lines", self.newlines)) if share]
        return "-".join([self.kind, str(self.rows), *marks]) + ".csv"


@dataclass(frozen=True, slots=True)
class File:
    """A file that was made, and how many of its rows are bad."""

    path: Path
    rows: int
    bad: int
    size: int


def write(data: Data, path: Path) -> File:
    """Make the file; an existing one is written over."""
    bad = 0
    with path.open("wb") as file:
        for text, bad_rows in pieces(data):
            file.write(text)
            bad += bad_rows
    return File(path, data.rows, bad, path.stat().st_size)


def pieces(data: Data) -> Iterator[tuple[bytes, int]]:
    """The file piece by piece, each with the number of its bad rows."""
    size = _BLOCK_ROWS[data.kind]
    whole, rest = divmod(data.rows, size)
    source = _source(data, min(whole, _BLOCKS) * size + rest)
    yield next(source)
    blocks = [_Block(data.kind, text, bad) for text, bad in islice(source, min(whole, _BLOCKS))]
    for at in range(whole):
        yield blocks[at % _BLOCKS].numbered(FIRST_NUMBER + at * size)
    if rest:
        yield _Block(data.kind, *next(source)).numbered(FIRST_NUMBER + whole * size)


def rows_of(kind: Kind, size: int) -> int:
    """How many good rows make about `size` bytes."""
    block = _BLOCK_ROWS[kind]
    (header, _), (text, bad) = islice(_source(Data(kind, block), block), 2)
    return max(1, round((size - len(header)) / len(_Block(kind, text, bad).text) * block))


class _Block:
    """Rows whose numbers and keys can be written over."""

    def __init__(self, kind: Kind, text: bytes, bad: int) -> None:
        self.bad = bad
        begin, key_bytes = _BEGIN[kind]
        self.text: Bytes = np.frombuffer(bytearray(begin.sub(b"0" * _NUMBER_BYTES, text)), np.uint8)
        starts = np.array([match.start() for match in begin.finditer(self.text.tobytes())], np.int64)
        self._numbers = starts[:, None] + np.arange(_NUMBER_BYTES)
        self._keys = starts[:, None] + _NUMBER_BYTES + 1 + np.arange(key_bytes)

    def numbered(self, first: int) -> tuple[bytes, int]:
        """The rows with the numbers from `first` on and the keys that belong to them, and how many are bad."""
        numbers = np.arange(first, first + len(self._numbers), dtype=np.uint64)
        powers = np.uint64(10) ** np.arange(_NUMBER_BYTES - 1, -1, -1, dtype=np.uint64)
        self.text[self._numbers] = _DIGITS[(numbers[:, None] // powers) % np.uint64(10)]
        if self._keys.shape[1]:
            shifts = np.arange(4 * _KEY_BYTES - 4, -4, -4).astype(np.uint64)
            self.text[self._keys] = _HEX_DIGITS[(_keys_of(numbers)[:, None] >> shifts) & np.uint64(15)]
        return self.text.tobytes(), self.bad


def _keys_of(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    for shift, odd in _MIX:
        numbers = ((numbers ^ (numbers >> shift)) * odd) & _KEYS
    return numbers


def _source(data: Data, rows: int) -> Iterator[tuple[bytes, int]]:
    """The header, then blocks of rows as they come, each with its number of bad rows."""
    if data.kind is Kind.CUSTOMERS:
        customers, known = Customers(rows, bad=data.bad / 100, newlines=data.newlines / 100, seed=1), 0
        for block in customers.blocks():
            yield block, len(customers.bad_lines) - known
            known = len(customers.bad_lines)
        return
    columns, rng = {Kind.NARROW: NARROW, Kind.WIDE: WIDE}[data.kind], np.random.default_rng(1)
    yield (",".join(columns) + "\n").encode(), 0
    for start in range(0, rows, _BLOCK_ROWS[data.kind]):
        count = min(_BLOCK_ROWS[data.kind], rows - start)
        values = [_values(kind, count, rng) for name, kind in columns.items() if name != "id"]
        yield "".join(f"{'0' * _NUMBER_BYTES},{','.join(row)}\n" for row in zip(*values, strict=True)).encode(), 0


def _values(kind: str, count: int, rng: np.random.Generator) -> list[str]:
    """Values of a type, none of them NULL."""
    numbers = rng.integers(0, 10_000_000, count)
    if kind == "integer":
        return [str(number) for number in numbers.tolist()]
    if kind == "date":
        return [str(day) for day in (np.datetime64("2000-01-01") + numbers % 10_000).tolist()]
    if kind == "text":
        return [f"{FIRST[number % len(FIRST)]} {LAST[number % len(LAST)]}" for number in numbers.tolist()]
    return [f"{number // 100}.{number % 100:02}" for number in numbers.tolist()]
