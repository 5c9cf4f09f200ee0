"""Dialects: what is told wins, what is not told is found out."""

from __future__ import annotations

import csv
import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.dialect import settle
from sluice.errors import UsageError
from sluice.head import skipped
from sluice.model import Dialect, DialectOptions, ShortRows, StrayQuotes
from sluice.names import normalise_header

NOTHING = DialectOptions()


def sniffed(text: str | bytes, *known: str, **told: object) -> Dialect:
    options = DialectOptions(**told)  # type: ignore[arg-type]  # each test tells what it means
    sample = text if isinstance(text, bytes) else text.encode()
    return settle(sample, options, known={normalise_header(name) for name in known})


@pytest.mark.parametrize(
    ("text", "delimiter", "skip_lines", "header"),
    [
        ("a,b\n1,2\n", ",", 0, True),
        ("a;b\n1,5;2,5\n1,5;2,5\n", ";", 0, True),
        ("1,5;2,5;3,5\n2,5;3,5;4,5\n", ";", 0, False),
        ("a\tb\nx, y\t1\nz, w\t2\n", "\t", 0, True),
        ("a|b|c\n1|x,y,z|3\n2|x,y|4\n", "|", 0, True),
        ("a^b\n1^2\n3^4\n", "^", 0, True),
        ("a\x1fb\n1\x1f2\n", "\x1f", 0, True),
        ("name:age\nann:3\nbob:4\n", ":", 0, True),
        ("time\n12:30\n12:45\n", ",", 0, True),
        ("https://a.de\nhttps://b.de\n", ",", 0, False),
        ("name\nann\nbob, jr\n", ",", 0, True),
        ("sep=;\r\na;b\r\n1;2\r\n", ";", 1, True),
        ('"sep=|"\na|b\n1|2\n', "|", 1, True),
        ("Report\n\nid,name,age\n1,x,2\n2,y,3\n", ",", 2, True),
        ("Report of Monday, all\nid,name,age\n1,x,2\n2,y,3\n", ",", 1, True),
        ('The 5" "pipes\nid,name,age\n1,x,2\n2,y,3\n', ",", 1, True),
        ("Report;;;\n;;;\nid;name;age;x\n1;x;2;3\n2;y;3;3\n", ";", 2, True),
        ("# made by x\n# y, z\nid\tname\n1\tx\n", "\t", 2, True),
        ("# remark\nname\nann\nbob\n", ",", 1, True),
        ("#id,name\n1,x\n", ",", 0, True),
        ("\n\na,b\n1,2\n", ",", 0, True),
        ("a,b,c\n1,2\n1,2,3,4\n1\n", ",", 0, True),
        ("a\r1\r2\r", ",", 0, True),
        ("a;b\r1;2\r", ";", 0, True),
        ("1,ann,a@b.de\n2,bob,b@c.de\n", ",", 0, False),
        ("x,2019,2020\na,1,2\nb,3,4\n", ",", 0, True),
        ("2024-01-01,5\n2024-01-02,6\n", ",", 0, False),
        ("1\n2\n3\n", ",", 0, False),
        ("a,b\n", ",", 0, True),
        ("id;name", ";", 0, True),
        ("1,2\n", ",", 0, False),
        ("", ",", 0, True),
        ("\n\n", ",", 0, True),
        ('"a","b"\n"1;2;3","4"\n"1;2;3","5"\n', ",", 0, True),
        ('a,b\n"x\n1;2;3\n1;2;3\n1;2;3",3\n', ",", 0, True),
        (b"a,b\n\xff,\xfe\n", ",", 0, True),
    ],
)
def test_sniffed(text: str | bytes, delimiter: str, skip_lines: int, header: bool) -> None:
    found = sniffed(text)
    assert (found.delimiter, found.skip_lines, found.header) == (delimiter, skip_lines, header)
    assert (found.quote, found.escape) == ('"', None)


def test_single_quotes() -> None:
    assert sniffed("'a','b'\n'x,y','it'\n'z','q'\n").quote == "'"
    assert sniffed("'a';'b'\n'x,y';'it''s'\n").quote == "'"
    assert sniffed("name,note\nO'Brien,'tis\nD'Arcy,rock 'n' roll\n").quote == '"'
    assert sniffed("a,b\n\"it's\",'x'\n'y','z'\n").quote == '"'


def test_backslash_escapes() -> None:
    assert sniffed('a,b\n"x \\" y",2\n"z","q"\n').escape == "\\"
    assert sniffed('a,b\n"C:\\dir\\",2\n"z","q"\n').escape is None
    assert sniffed('a,b\n"x \\" y",2\n', escape="none").escape is None


def test_what_is_told_wins() -> None:
    found = sniffed("a;b\n1;2\n", delimiter=",", header=False, quote="none", escape="\\", skip_lines=1)
    assert found == Dialect(",", None, "\\", "utf-8", False, 1)
    found = sniffed("Report\n\na,b\n1,2\n", skip_lines=0, stray_quotes=StrayQuotes.LITERAL, short_rows=ShortRows.PAD)
    assert (found.skip_lines, found.stray_quotes, found.short_rows) == (0, StrayQuotes.LITERAL, ShortRows.PAD)
    assert sniffed("sep=;\na;b\n", delimiter=",").delimiter == ","
    assert settle(b"a", NOTHING, encoding="cp1252").encoding == "cp1252"


@pytest.mark.parametrize(
    ("told", "character"),
    [("\\t", "\t"), ("tab", "\t"), ("TAB", "\t"), ("pipe", "|"), ("semicolon", ";"), ("\\x1f", "\x1f"), (" ", " ")],
)
def test_spelled_out(told: str, character: str) -> None:
    assert sniffed("a,b\n", delimiter=told).delimiter == character


@pytest.mark.parametrize(
    "told",
    [
        {"delimiter": ""},
        {"delimiter": ";;"},
        {"delimiter": "\n"},
        {"delimiter": "\r"},
        {"delimiter": "\0"},
        {"delimiter": "§"},
        {"delimiter": '"'},
        {"delimiter": "'", "quote": "'"},
        {"delimiter": "\\", "escape": "\\"},
        {"quote": "''"},
        {"escape": "\n"},
        {"skip_lines": -1},
    ],
)
def test_impossible_characters_are_wrong_usage(told: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        sniffed("a,b\n1,2\n", **told)


def test_an_escape_that_is_the_quote_means_doubling() -> None:
    assert sniffed("a\n", escape='"').escape is None
    assert sniffed("a\n", quote="'", escape="'").escape is None
    assert sniffed("a\n", quote="none", delimiter='"').delimiter == '"'


def test_known_names_decide() -> None:
    known = ("customer_id", "First Name", "email")
    assert sniffed("Customer-ID,first_name,x\na,b,c\n", *known).header
    assert sniffed("Export,all of it\nthe email was,wrong\nCustomer Id,First Name\na,b\n", *known).skip_lines == 2
    assert sniffed("email\na;b;c\nd;e;f\n", *known).delimiter == ","
    assert sniffed("1,2\nemail,customer_id\n", *known).skip_lines == 1
    # A first row of data is no header; a first row of unknown names is one, so that it is refused and not loaded.
    assert not sniffed("ann@a.de,Ann\nbob@b.de,Bob\n", *known).header
    assert sniffed("Kunde,Ort\nAnn,Rom\n", *known).header


def test_a_comma_in_prose_does_not_outvote_the_delimiter() -> None:
    rows = "".join(f"{i};Smith, John;1,5{i};x, y\n" for i in range(20))
    assert sniffed(f"id;name, first;price;note\n{rows}").delimiter == ";"


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=12)
WORD = st.from_regex(r"[a-z]{2,8}", fullmatch=True)


@settings(deadline=None)  # machines are shared
@given(
    names=st.lists(WORD, min_size=2, max_size=6, unique=True),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    data=st.data(),
)
def test_the_delimiter_of_any_well_formed_file_is_found(
    names: list[str], delimiter: str, end: str, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.lists(CELL, min_size=len(names), max_size=len(names)), min_size=1, max_size=8))
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_MINIMAL).writerows([names, *rows])
    found = sniffed(file.getvalue(), *names)
    assert (found.delimiter, found.quote, found.header, found.skip_lines) == (delimiter, '"', True, 0)


@settings(deadline=None)  # machines are shared
@given(st.binary(max_size=200))
def test_any_sample_settles(sample: bytes) -> None:
    found = settle(sample, NOTHING)
    assert len(found.delimiter) == 1
    assert found == settle(sample, NOTHING)


def test_skipped_counts_physical_lines() -> None:
    text = b"a\r\nb\rc\n\nd"
    assert [skipped(text, lines) for lines in range(7)] == [0, 3, 5, 7, 8, 9, 9]


def test_a_large_sample_takes_little_time() -> None:
    sample = b"id,name,note\n" + b'1,"Ann","said ""hi"", then; left"\n' * 30_000
    begun = time.process_time()
    assert sniffed(sample).delimiter == ","
    assert time.process_time() - begun < 1.0
