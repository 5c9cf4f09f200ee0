"""The vocabulary of rejection: every code a row can be rejected with, and its category.

`docs/error-codes.md` is generated from this module (`python -m sluice.codes`), and a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Category(StrEnum):
    """What kind of thing is wrong with a row; the four keys of a report's `errors_by_category`."""

    MISSING_VALUE = "missing_value"
    INVALID_FORMAT = "invalid_format"
    DUPLICATE = "duplicate"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One reason to reject a row. `remedy` is what the sender or the operator can do about it."""

    code: str
    category: Category
    title: str
    description: str
    remedy: str


_FORMAT, _MISSING, _DUPLICATE, _OTHER = (
    Category.INVALID_FORMAT,
    Category.MISSING_VALUE,
    Category.DUPLICATE,
    Category.OTHER,
)

CODES: dict[str, ErrorCode] = {
    entry.code: entry
    for entry in (
        ErrorCode(
            "csv.column_count", _FORMAT, "Wrong number of fields",
            "The record has more or fewer fields than the header.",
            "Look for an unquoted delimiter or a lost line end. `--short-rows pad` fills missing fields with NULL.",
        ),
        ErrorCode(
            "csv.stray_quote", _FORMAT, "Stray quote",
            "A quote stands inside an unquoted field, or text follows a closing quote.",
            "Quote the field and double the quotes in it, or keep quotes as text with `--stray-quotes literal`.",
        ),
        ErrorCode(
            "csv.unclosed_quote", _FORMAT, "Quote never closed",
            "A quoted field is still open at the end of the file; reading went on at the next line.",
            "Close the quote.",
        ),
        ErrorCode(
            "csv.encoding", _FORMAT, "Bytes that are not text",
            "The record holds bytes that are invalid in the file's encoding.",
            "Save the file in one encoding, or name the right one with `--encoding`.",
        ),
        ErrorCode(
            "csv.nul", _FORMAT, "NUL byte",
            "The record holds a zero byte, which no PostgreSQL text can hold.",
            "Remove it; it often means a damaged transfer.",
        ),
        ErrorCode(
            "csv.too_long", _FORMAT, "Record too long",
            "The record is longer than the limit, most often because a quote was never closed; reading went on at the next line.",
            "Close the quote, or split the record.",
        ),
        ErrorCode(
            "json.invalid", _FORMAT, "Not a JSON object",
            "The record is no object that can be read: broken syntax (NaN and Infinity are none of JSON), another value than an object, a key given twice, an escape for NUL or half of a surrogate pair.",
            "The message says what is wrong and where in the record; correct it.",
        ),
        ErrorCode(
            "json.unknown_key", _FORMAT, "Unknown key",
            "The object has a key that neither the dataset nor the beginning of the file has.",
            "Correct the key, add it to the dataset, or set `extra_columns: ignore` or `keep`.",
        ),
        ErrorCode(
            "json.encoding", _FORMAT, "Bytes that are not text",
            "The JSON record holds bytes that are invalid in the file's encoding.",
            "Save the file as UTF-8, or name its encoding with `--encoding`.",
        ),
        ErrorCode(
            "json.too_long", _FORMAT, "Record too long",
            "The JSON record is longer than the limit, most often because something in it was never closed. All up to the next line that begins a record is rejected with it, to the end of the file if there is none; the first bytes up to the limit are kept.",
            "Close what is open; write one object a line.",
        ),
        ErrorCode(
            "type.required", _MISSING, "Required value missing",
            "The column is required (or part of the key) and the value is NULL.",
            "Fill it in, give the column a `default`, or drop `required`.",
        ),
        ErrorCode("type.integer", _FORMAT, "Not an integer", "Not a whole number, or outside -2147483648 to 2147483647.", "Correct the value, or make the column bigint."),
        ErrorCode("type.bigint", _FORMAT, "Not a big integer", "Not a whole number, or outside the 64-bit range.", "Correct the value."),
        ErrorCode("type.numeric", _FORMAT, "Not a number", "Not a decimal number, or more digits than the column's precision and scale hold; never rounded.", "Correct the value, or widen the column."),
        ErrorCode("type.double", _FORMAT, "Not a number", "Not a finite floating point number.", "Correct the value; list texts such as NaN under `null`."),
        ErrorCode("type.boolean", _FORMAT, "Not a boolean", "Not one of true/false, t/f, yes/no, y/n, on/off, 1/0 (in any case).", "Correct the value."),
        ErrorCode("type.date", _FORMAT, "Not a date", "Does not read as a date in the column's format, or is no day of the calendar.", "Correct the value, or the column's `format`."),
        ErrorCode("type.timestamp", _FORMAT, "Not a timestamp", "Does not read as a timestamp in the column's format.", "Correct the value, or the column's `format`."),
        ErrorCode("type.uuid", _FORMAT, "Not a UUID", "Not 32 hexadecimal digits, with or without the usual hyphens.", "Correct the value."),
        ErrorCode("type.json", _FORMAT, "Not JSON", "Does not parse as JSON (RFC 8259).", "Correct the value."),
        ErrorCode(
            "key.duplicate", _DUPLICATE, "Key already taken",
            "An earlier row of this file, or (with `on_duplicate: reject`) a row of the table, has the same key.",
            "Decide which row is right; mode `overwrite` updates rows that were in the table before.",
        ),
        ErrorCode("db.check_violation", _OTHER, "CHECK constraint", "The row breaks a CHECK constraint of the table.", "Correct the row, or the constraint."),
        ErrorCode("db.not_null_violation", _MISSING, "NOT NULL constraint", "The row leaves a column empty that the table wants filled.", "Fill it in, or give the column a default."),
        ErrorCode("db.foreign_key_violation", _OTHER, "Foreign key", "The row refers to a row that is not there.", "Load the other table first, or correct the reference."),
        ErrorCode("db.unique_violation", _DUPLICATE, "Unique constraint", "Another row has the same value in a unique column that is not the dataset's key.", "Decide which row is right."),
        ErrorCode("db.exclusion_violation", _OTHER, "Exclusion constraint", "The row conflicts with another under an exclusion constraint of the table.", "Correct the row."),
        ErrorCode("db.data_exception", _FORMAT, "Refused by the column's type", "PostgreSQL refuses the value for this column: too long, out of range, or not of its type.", "Correct the value, or the column."),
        ErrorCode("db.refused", _OTHER, "Refused by the database", "A trigger or another rule of the database refuses the row.", "The message says what it objects to."),
    )
}  # fmt: skip

#: Expectations whose violation has a better name than "other"; every other expectation type is `other`.
RULE_CATEGORIES: dict[str, Category] = {
    "expect_column_values_to_not_be_null": _MISSING,
    "expect_column_values_to_be_unique": _DUPLICATE,
    "expect_compound_columns_to_be_unique": _DUPLICATE,
    "expect_select_column_values_to_be_unique_within_record": _DUPLICATE,
    "expect_column_values_to_match_regex": _FORMAT,
    "expect_column_values_to_not_match_regex": _FORMAT,
    "expect_column_values_to_match_regex_list": _FORMAT,
    "expect_column_values_to_not_match_regex_list": _FORMAT,
    "expect_column_values_to_match_like_pattern": _FORMAT,
    "expect_column_values_to_not_match_like_pattern": _FORMAT,
    "expect_column_values_to_match_like_pattern_list": _FORMAT,
    "expect_column_values_to_not_match_like_pattern_list": _FORMAT,
    "expect_column_values_to_match_strftime_format": _FORMAT,
    "expect_column_values_to_match_json_schema": _FORMAT,
    "expect_column_values_to_be_json_parseable": _FORMAT,
    "expect_column_values_to_be_dateutil_parseable": _FORMAT,
    "expect_column_value_lengths_to_be_between": _FORMAT,
    "expect_column_value_lengths_to_equal": _FORMAT,
}


def category_of(code: str) -> Category:
    """The category of any code: listed in `CODES`, or `rule.<expectation type>`.

    Raises:
        KeyError: for a code that is neither.
    """
    prefix, _, rest = code.partition(".")
    if prefix == "rule":
        return RULE_CATEGORIES.get(rest, Category.OTHER)
    return CODES[code].category


def documentation() -> str:
    """`docs/error-codes.md`, whole."""
    lines = [
        "# Error codes",
        "",
        "Every reason a row can be rejected for. A rejected row stands in `sluice.rejected_rows` with its exact bytes, and",
        "has one row in `sluice.row_errors` for every reason. This page is generated (`python -m sluice.codes`).",
        "",
        "| code | category | meaning | what to do |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{c.code}` | {c.category} | {c.title}: {c.description} | {c.remedy} |" for c in CODES.values()]
    lines += [
        "",
        "## Rules: `rule.<expectation type>`",
        "",
        "A row that breaks an expectation of the dataset's suite is rejected under the expectation's own name, for example",
        "`rule.expect_column_values_to_match_regex`. The category is `other` but for these:",
        "",
        "| code | category |",
        "|---|---|",
    ]
    lines += [f"| `rule.{name}` | {category} |" for name, category in RULE_CATEGORIES.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(documentation(), end="")  # noqa: T201 - this is the command's output
