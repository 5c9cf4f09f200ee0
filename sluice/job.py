"""What a process needs to load chunks of an import that another process has claimed."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.loadplan import LoadPlan
from sluice.recipe import Recipe
from sluice.spool import TextFile
from sluice.textobject import TextObject


@dataclass(frozen=True, slots=True)
class Job:
    """Small, picklable, and without secrets: the database is the environment's.

    Attributes:
        attempt: the fencing number; when it is over, so is every process that loads by this job.
        plan: how a chunk's rows are loaded, into the target or the import's staging table.
        text_lines: physical lines of the whole text's data, an upper bound of its records.
    """

    import_id: int
    attempt: int
    recipe: Recipe
    text: TextFile | TextObject
    plan: LoadPlan
    text_lines: int
