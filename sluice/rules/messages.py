"""One short sentence for each rule, for the person who reads a rejected row beside its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: Longer ones are cut: a message stands in one line of a table.
MAX_LENGTH = 199
#: Sets up to this size are spelled out.
_SPELLED_OUT = 5

Arguments = Mapping[str, Any]


def message_for(kind: str, arguments: Arguments) -> str:
    """What a row that breaks a rule of that type does, such as `is not between 1 and 100`."""
    template = _TEMPLATES.get(kind)
    if template is None:
        text = "breaks the rule: " + kind.removeprefix("expect_").replace("_", " ")
    elif callable(template):
        text = template(arguments)
    else:
        text = template.format_map(arguments)
    return shorten(text)


def shorten(text: str) -> str:
    """The text, cut to `MAX_LENGTH` characters."""
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 1] + "…"


def range_text(arguments: Arguments) -> str:
    """`between 1 and 100`, `at least 1`, `above 1`; nothing where there are no bounds."""
    low, high = arguments.get("min_value"), arguments.get("max_value")
    strict_low, strict_high = arguments.get("strict_min"), arguments.get("strict_max")
    if low is not None and high is not None and not strict_low and not strict_high:
        return f"between {shown(low)} and {shown(high)}"
    parts = []
    if low is not None:
        parts.append(f"{'above' if strict_low else 'at least'} {shown(low)}")
    if high is not None:
        parts.append(f"{'below' if strict_high else 'at most'} {shown(high)}")
    return " and ".join(parts)


def shown(value: Any) -> str:
    """A bound as a person writes it: Great Expectations stores 1 as 1.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _set_text(values: Any, what: str) -> str:
    values = list(values or ())
    if len(values) <= _SPELLED_OUT:
        return ", ".join(map(shown, values))
    return f"{len(values)} {what}"


def _greater(arguments: Arguments) -> str:
    relation = "at least" if arguments.get("or_equal") else "greater than"
    return f"{arguments['column_A']} is not {relation} {arguments['column_B']}"


def _regex_list(arguments: Arguments) -> str:
    count = len(arguments["regex_list"])
    return (
        f"does not match all of {count} patterns"
        if arguments.get("match_on") == "all"
        else f"matches none of {count} patterns"
    )


_TEMPLATES: dict[str, str | Callable[[Arguments], str]] = {
    "expect_column_values_to_not_be_null": "is empty",
    "expect_column_values_to_be_null": "is not empty",
    "expect_column_values_to_match_regex": "does not match {regex}",
    "expect_column_values_to_not_match_regex": "matches {regex}",
    "expect_column_values_to_match_regex_list": _regex_list,
    "expect_column_values_to_not_match_regex_list": lambda a: f"matches one of {len(a['regex_list'])} patterns",
    "expect_column_value_lengths_to_be_between": lambda a: f"length is not {range_text(a)}",
    "expect_column_value_lengths_to_equal": lambda a: f"length is not {shown(a['value'])}",
    "expect_column_values_to_be_in_set": lambda a: f"is not one of {_set_text(a['value_set'], 'allowed values')}",
    "expect_column_values_to_not_be_in_set": lambda a: f"is one of {_set_text(a['value_set'], 'forbidden values')}",
    "expect_column_values_to_be_between": lambda a: f"is not {range_text(a)}",
    "expect_column_values_to_match_strftime_format": "is not a date of the form {strftime_format}",
    "expect_column_values_to_be_dateutil_parseable": "is not a date",
    "expect_column_values_to_be_json_parseable": "is not JSON",
    "expect_column_values_to_match_json_schema": "does not fit the JSON schema",
    "expect_column_pair_values_to_be_equal": "are not equal",
    "expect_column_pair_values_a_to_be_greater_than_b": _greater,
    "expect_column_pair_values_to_be_in_set": lambda a: f"is none of {len(a['value_pairs_set'] or ())} allowed pairs",
    "expect_multicolumn_sum_to_equal": lambda a: f"do not add up to {shown(a['sum_total'])}",
    "expect_multicolumn_values_to_be_equal": "are not equal",
    "expect_select_column_values_to_be_unique_within_record": "are not all different",
    "expect_column_values_to_be_unique": "is not unique",
    "expect_compound_columns_to_be_unique": "occurs more than once",
}  # fmt: skip
