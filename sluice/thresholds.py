"""When are there too many bad rows?"""

from __future__ import annotations

from sluice.errors import ThresholdExceeded
from sluice.model import MaxRejects


def check_threshold(limit: MaxRejects | None, rejected: int, *, records: int) -> None:
    """Make sure that `rejected` rows are not more than allowed.

    Args:
        limit: None allows any number.
        records: of the whole file. While that is not known, an upper bound: a percentage of it is only exceeded
            when it is exceeded for certain.

    Raises:
        ThresholdExceeded: the import must stop.
    """
    if limit is None:
        return
    allowed = limit.count if limit.count is not None else int(records * (limit.percent or 0) / 100)
    if rejected > allowed:
        bound = (
            f"{limit} of the file's records, which are {allowed:,} rows" if limit.percent is not None else f"{limit}"
        )
        raise ThresholdExceeded(
            f"{rejected:,} {'row was' if rejected == 1 else 'rows were'} rejected; allowed are {bound}.",
            hint="`sluice rejects` shows them with every reason. Correct the file, or allow more with --max-rejects.",
        )
