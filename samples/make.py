"""Makes the sample files, and customers files of any size for measuring.

    python samples/make.py samples
    python samples/make.py customers --rows 2000000 --bad 1 --output /tmp/customers.csv

Everything follows from the seed: the same call writes the same bytes. Bad rows are bad on purpose, one way each
(`BAD`), and `--manifest` (for the samples: `expected.csv`) says which line is bad in which way.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
HEADER = "Index,Customer Id,First Name,Last Name,Company,City,Country,Phone 1,Phone 2,Email,Subscription Date,Website"
BLOCK = 50_000

_WORDS: dict[str, list[str]] = json.loads((HERE / "words.json").read_text(encoding="utf-8"))
FIRST, LAST, TOWNS, COUNTRIES = (_WORDS[name] for name in ("first", "last", "towns", "countries"))
BEFORE = ("", "", "", "", "East ", "West ", "North ", "South ", "Port ", "Lake ", "New ", "Saint ")
FORMS = ("Ltd", "Inc", "PLC", "LLC", "Group", "and Sons", "Partners", "Holdings")
DOMAINS = ("com", "net", "org", "info", "biz", "co.uk", "io")
PATHS = ("", "about", "en/home", "products/catalogue", "shop/offers", "company/contact")
FIRST_DAY, DAYS = date(2020, 1, 1), 880

Fields = list[str]


@dataclass(frozen=True, slots=True)
class Bad:
    """One way to be bad: the code the row must be rejected with, and what is done to its twelve fields.

    `spoil` changes the fields in place, or returns the line's text itself (surrogates stand for raw bytes).
    """

    code: str
    spoil: Callable[[Fields], str | None]


def _put(position: int, value: str) -> Callable[[Fields], None]:
    def spoil(fields: Fields) -> None:
        fields[position] = value

    return spoil


def _append(fields: Fields) -> None:
    fields.append("surplus")


def _drop(fields: Fields) -> None:
    del fields[-1]


def _insert_into(position: int, text: str) -> Callable[[Fields], None]:
    def spoil(fields: Fields) -> None:
        fields[position] = f"{fields[position][:3]}{text}{fields[position][3:]}"

    return spoil


_REGEX, _SET, _BETWEEN, _NOT_NULL = (
    f"rule.expect_column_values_to_{name}" for name in ("match_regex", "be_in_set", "be_between", "not_be_null")
)

#: Bad in ways that show in the row itself.
BAD: dict[str, Bad] = {
    "email without @": Bad(_REGEX, _put(9, "no-at-sign.example.com")),
    "email with two @": Bad(_REGEX, _put(9, "two@@example.com")),
    "first name missing": Bad(_NOT_NULL, _put(2, "")),
    "last name missing": Bad(_NOT_NULL, _put(3, "")),
    "unknown country": Bad(_SET, _put(6, "Atlantis")),
    "date in words": Bad("type.date", _put(10, "last Tuesday")),
    "no such day": Bad("type.date", _put(10, "2021-02-30")),
    "date the other way round": Bad("type.date", _put(10, "24/12/2021")),
    "date missing": Bad("type.required", _put(10, "")),
    "date out of range": Bad(_BETWEEN, _put(10, "1899-12-31")),
    "index no number": Bad("type.bigint", _put(0, "n/a")),
    "index hexadecimal": Bad("type.bigint", _put(0, "0x1F")),
    "customer id missing": Bad("type.required", _put(1, "")),
    "website without scheme": Bad(_REGEX, _put(11, "www.example.com")),
    "short row": Bad("csv.column_count", _drop),
    "long row": Bad("csv.column_count", _append),
    "stray quote": Bad("csv.stray_quote", _put(5, 'Port "Royal" Bay')),
    "text after a closing quote": Bad("csv.stray_quote", _put(5, '"Port Royal" Bay')),
    "invalid byte": Bad("csv.encoding", _insert_into(3, "\udcff")),
    "NUL byte": Bad("csv.nul", _insert_into(3, "\x00")),
}

#: Bad only beside another row: for the sample file.
DUPLICATE = "duplicate key"
UNCLOSED = "quote never closed"


@dataclass(frozen=True, slots=True)
class Line:
    """A bad row: the physical line it starts on and its way of being bad."""

    line: int
    kind: str
    code: str


class Customers:
    """A stream of customers rows, a block at a time."""

    def __init__(self, rows: int, *, bad: float, seed: int, newlines: float = 0.0, neighbours: bool = False) -> None:
        """`bad` and `newlines` are shares of the rows; `neighbours` adds the kinds of bad that need two rows."""
        self.rows, self.bad, self.seed, self.newlines, self.neighbours = rows, bad, seed, newlines, neighbours
        self._companies, self._phones, self._sites = _pools(seed)
        self._cities = _objects(f"{before}{town}" for before in BEFORE for town in TOWNS)
        self._dates = _objects(str(FIRST_DAY + timedelta(days=day)) for day in range(DAYS))
        self.bad_lines: list[Line] = []
        self._line = 2

    def blocks(self) -> Iterator[bytes]:
        yield f"{HEADER}\n".encode()
        for start in range(0, self.rows, BLOCK):
            yield self._block(start, min(BLOCK, self.rows - start))

    def _block(self, start: int, count: int) -> bytes:
        rng = np.random.default_rng([self.seed, start])
        columns = self._columns(rng, start, count)
        template = ",".join(["%s"] * len(columns)) + "\n"
        lines = [template % row for row in zip(*columns, strict=True)]
        kinds = [*BAD, *([DUPLICATE, UNCLOSED] if self.neighbours else [])]
        extra_lines = np.flatnonzero(rng.random(count) < self.newlines)
        spoilt = np.flatnonzero(rng.random(count) < self.bad)
        for row in extra_lines.tolist():
            fields = [column[row] for column in columns]
            fields[4] = f'"{fields[4].strip(chr(34))}\nHead Office"'
            lines[row] = ",".join(fields) + "\n"
        bad = set(spoilt.tolist())
        longer = np.setdiff1d(extra_lines, spoilt)  # a spoilt row is one line again
        for nth, row in enumerate(spoilt.tolist()):
            kind = kinds[nth % len(kinds)]
            fields = [column[row] for column in columns]
            lines[row] = self._spoil(fields, kind, columns[1][_good_before(row, bad)]) + "\n"
            self._note(row + int(np.searchsorted(longer, row)), kind)
        self._line += count + len(longer)
        return "".join(lines).encode("utf-8", "surrogateescape")

    def _spoil(self, fields: Fields, kind: str, other_id: str) -> str:
        if kind == DUPLICATE:
            fields[1] = other_id
        elif kind == UNCLOSED:
            fields[4] = f'"{fields[4].strip(chr(34))}'
        else:
            BAD[kind].spoil(fields)
        return ",".join(fields)

    def _note(self, line: int, kind: str) -> None:
        code = {DUPLICATE: "key.duplicate", UNCLOSED: "csv.stray_quote"}.get(kind) or BAD[kind].code
        self.bad_lines.append(Line(self._line + line, kind, code))

    def _columns(self, rng: np.random.Generator, start: int, count: int) -> list[list[str]]:
        def some(pool: Any) -> list[str]:
            texts: list[str] = pool[rng.integers(0, len(pool), count)].tolist()
            return texts

        first, last = some(_objects(FIRST)), some(_objects(LAST))
        numbers, domains = rng.integers(1, 1000, count).tolist(), some(_objects(_domain(rng) for _ in range(2000)))
        emails = [f"{f.lower()}.{s.lower()}{n}@{d}" for f, s, n, d in zip(first, last, numbers, domains, strict=True)]
        return [
            [str(number) for number in range(start + 1, start + count + 1)],
            _customer_ids(rng, start, count),
            first,
            last,
            some(self._companies),
            some(self._cities),
            some(_objects(COUNTRIES)),
            some(self._phones),
            some(self._phones),
            emails,
            some(self._dates),
            some(self._sites),
        ]


def _good_before(row: int, bad: set[int]) -> int:
    """The nearest earlier row that is not bad; row 0 where there is none."""
    return next((earlier for earlier in range(row - 1, -1, -1) if earlier not in bad), 0)


@cache
def _pools(seed: int) -> tuple[Any, Any, Any]:
    """Companies, phone numbers and sites to pick from; making them takes longer than 200,000 rows."""
    rng = np.random.default_rng([seed, 2**32 - 1])
    companies = _objects(_company(rng) for _ in range(20_000))
    phones = _objects(_phone(rng) for _ in range(65_536))
    return companies, phones, _objects(_site(rng) for _ in range(10_000))


def _objects(texts: Any) -> Any:
    return np.array(list(texts), dtype=object)


def _customer_ids(rng: np.random.Generator, start: int, count: int) -> list[str]:
    """15 hexadecimal digits in mixed case, none twice: an odd factor permutes the numbers below 2**60."""
    numbers = (np.arange(start + 1, start + count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) % np.uint64(
        2**60
    )
    digits = ((numbers[:, None] >> np.arange(56, -4, -4, dtype=np.uint64)) & np.uint64(15)).astype(np.uint8)
    small = np.frombuffer(b"0123456789abcdef", np.uint8)[digits]
    letters = np.where((digits > 9) & (rng.random(digits.shape) < 0.5), small - 32, small).astype(np.uint8)
    return np.ascontiguousarray(letters).view("S15").ravel().astype(str).tolist()


def _company(rng: np.random.Generator) -> str:
    a, b, c = rng.choice(LAST, 3, replace=False)
    shape = rng.integers(0, 10)
    if shape < 5:
        return f"{a} {rng.choice(FORMS)}"
    if shape < 7:
        return f"{a}-{b}"
    return f'"{a}, {b} and {c}"'


def _phone(rng: np.random.Generator) -> str:
    a, b, c, x = (int(rng.integers(low, high)) for low, high in ((200, 999), (100, 999), (1000, 9999), (10, 99999)))
    shapes = (f"{a}.{b}.{c}x{x}", f"{a}-{b}-{c}", f"({a}){b}-{c}", f"+1-{a}-{b}-{c}x{x}", f"001-{a}-{b}-{c}")
    return shapes[int(rng.integers(0, len(shapes)))]


def _domain(rng: np.random.Generator) -> str:
    return f"{rng.choice(LAST).lower()}.{rng.choice(DOMAINS)}"


def _site(rng: np.random.Generator) -> str:
    return f"{rng.choice(['http', 'https'])}://www.{_domain(rng)}/{rng.choice(PATHS)}"


def write_customers(target: Path, manifest: Path | None, **options: Any) -> list[Line]:
    customers = Customers(**options)
    with target.open("wb") as file:
        for block in customers.blocks():
            file.write(block)
    if manifest is not None:
        _write_csv(manifest, ["line", "kind", "code"], [[bad.line, bad.kind, bad.code] for bad in customers.bad_lines])
    return customers.bad_lines


def _write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


class Small:
    """The rows of a small sample, good ones first made, bad ones put among them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def person(self, number: int) -> tuple[str, str, str]:
        first, last = str(self.rng.choice(FIRST)), str(self.rng.choice(LAST))
        return first, last, f"{first}.{last}{number}@{_domain(self.rng)}".lower()

    def pick(self, *values: str) -> str:
        return str(self.rng.choice(values))


def write_prospects(folder: Path) -> list[Line]:
    make = Small(2)
    rows: list[list[Any]] = []
    for number in range(300):
        first, last, email = make.person(number)
        rows.append(
            [email, "" if number % 9 == 4 else first, "" if number % 13 == 5 else last, make.pick("web", "fair")]
        )
    bad = {
        20: ("email missing", "type.required", [""]),
        75: ("email without @", _REGEX, ["prospect-at-example.com"]),
        140: ("duplicate key", "key.duplicate", [rows[60][0]]),
        230: ("email with a blank", _REGEX, ["ann smith@example.com"]),
    }
    return _write_sample(folder / "prospects.csv", ["Email", "First Name", "Last Name", "Source"], rows, bad)


def write_people(folder: Path) -> list[Line]:
    make = Small(3)
    rows: list[list[Any]] = []
    for number in range(250):
        first, last, email = make.person(number)
        department = make.pick("Engineering", "Sales", "Finance", "Support", "Operations", "Marketing", "Legal")
        rows.append([f"{first} {last}", email, int(make.rng.integers(18, 68)), department])
    bad = {
        15: ("age in words", "type.integer", [*rows[15][:2], "thirty"]),
        60: ("age below 0", _BETWEEN, [*rows[60][:2], -4]),
        110: ("age above 120", _BETWEEN, [*rows[110][:2], 240]),
        150: ("name missing", "type.required", [""]),
        190: ("email without @", _REGEX, [rows[190][0], "nobody.example.com"]),
        220: ("duplicate key", "key.duplicate", rows[30][:2]),
    }
    header = ["name", "email", "age", "department"]
    lines = _write_sample(folder / "people.csv", header, rows, bad)
    records = [dict(zip(header, row, strict=True)) for row in rows]
    text = ",\n".join(
        json.dumps({key: value if value != "" else None for key, value in row.items()}) for row in records
    )
    (folder / "people.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")
    return lines


def write_contacts(folder: Path) -> list[Line]:
    make = Small(4)
    rows: list[list[Any]] = []
    for number in range(200):
        first, last, email = make.person(number)
        company = _company(make.rng).strip('"')
        rows.append(
            [f"{last}, {first}" if number % 10 == 3 else f"{first} {last}", email, "-" if number % 17 == 2 else company]
        )
    bad = {
        33: ("name missing", "type.required", [""]),
        90: ("email missing", "type.required", [rows[90][0], ""]),
        130: ("email without @", _REGEX, [rows[130][0], "contact.example.com"]),
        170: ("duplicate key", "key.duplicate", [rows[170][0], rows[41][1]]),
    }
    return _write_sample(folder / "contacts.csv", ["Full Name", "Email Address", "Company"], rows, bad)


LEADS = [
    "company_name",
    "industry",
    "company_website",
    "company_size",
    "contact_name",
    "contact_email",
    "contact_phone",
    "contact_title",
    "notes",
]


def _lead_rows(make: Small, count: int) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for number in range(count):
        first, last, email = make.person(number)
        rows.append(
            [
                _company(make.rng).strip('"'),
                make.pick("Manufacturing", "Retail", "Health care", "Software", "Logistics", "Education", "Energy"),
                _site(make.rng),
                make.pick("1-10", "11-50", "51-200", "201-1000", "1000+"),
                f"{first} {last}",
                email,
                _phone(make.rng),
                make.pick("CEO", "CTO", "Head of Sales", "Buyer", "Office Manager", "Director"),
                make.pick(
                    "", "", "Met at the fair, wants a quote", 'Said "call back in May"', "Two sites\nasks for both"
                ),
            ]
        )
    return rows


def write_leads(folder: Path) -> list[Line]:
    make = Small(5)
    rows, strict = _lead_rows(make, 400), _lead_rows(make, 150)
    ways: list[tuple[str, str, Callable[[list[Any]], list[Any]]]] = [
        ("company name missing", "type.required", lambda row: ["", *row[1:]]),
        (
            "company name too long",
            "rule.expect_column_value_lengths_to_be_between",
            lambda row: ["Verylong " * 30 + "Ltd"],
        ),
        ("email without @", _REGEX, lambda row: [*row[:5], "sales.example.com"]),
        ("website without scheme", _REGEX, lambda row: [*row[:2], "not a website"]),
    ]
    bad = {}
    for nth, place in enumerate(range(11, 400, 20)):
        kind, code, spoil = ways[nth % len(ways)]
        bad[place] = (kind, code, spoil(rows[place]))
    lines = _write_sample(folder / "leads.csv", LEADS, rows, bad)
    _write_sample(folder / "leads-strict.csv", LEADS, strict, {})
    return lines


def _write_sample(
    path: Path, header: list[str], rows: list[list[Any]], bad: dict[int, tuple[str, str, list[Any]]]
) -> list[Line]:
    """`bad`: row -> way of being bad, its code, and what its first fields become."""
    found, line = [], 2
    for place, row in enumerate(rows):
        if place in bad:
            kind, code, fields = bad[place]
            row[: len(fields)] = fields
            found.append(Line(line, kind, code))
        line += 1 + sum(str(field).count("\n") for field in row)
    _write_csv(path, header, rows)
    return found


def write_samples(folder: Path) -> None:
    customers = folder / "customers.csv"
    lines = {
        "customers.csv": write_customers(
            customers, None, rows=10_000, bad=0.02, seed=1, newlines=0.002, neighbours=True
        ),
        "prospects.csv": write_prospects(folder),
        "people.csv": write_people(folder),
        "contacts.csv": write_contacts(folder),
        "leads.csv": write_leads(folder),
    }
    rows = [[file, bad.line, bad.kind, bad.code] for file, found in lines.items() for bad in found]
    _write_csv(folder / "expected.csv", ["file", "line", "kind", "code"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    samples = commands.add_parser("samples", help="write every sample file, and expected.csv")
    samples.add_argument("--folder", type=Path, default=HERE)
    customers = commands.add_parser("customers", help="write a customers file of any size")
    customers.add_argument("--rows", type=int, required=True)
    customers.add_argument("--bad", type=float, default=0.0, metavar="PERCENT", help="share of bad rows")
    customers.add_argument("--quoted-newlines", type=float, default=0.0, metavar="PERCENT")
    customers.add_argument("--seed", type=int, default=1)
    customers.add_argument("--output", type=Path, required=True)
    customers.add_argument("--manifest", type=Path, help="line, kind and code of each bad row")
    told = parser.parse_args()
    if told.command == "samples":
        write_samples(told.folder)
        return
    shares = {"bad": told.bad / 100, "newlines": told.quoted_newlines / 100}
    write_customers(told.output, told.manifest, rows=told.rows, seed=told.seed, **shares)


if __name__ == "__main__":
    main()
