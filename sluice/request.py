"""What somebody asks for: one import's options, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sluice.dataset import parse_max_rejects, parse_table
from sluice.errors import UsageError
from sluice.model import Commit, DialectOptions, MaxRejects, Mode, ShortRows, StrayQuotes

#: Processes, and connections, of one import: more is a slip of the finger.
MOST_WORKERS = 64


@dataclass(frozen=True, slots=True)
class Request:
    """The options of `sluice import` and of the flow `import-file`; None means: as the dataset says.

    Attributes:
        source: path or URI of the file.
        dataset, table: exactly one of the two. `table` is `schema.name` (schema optional).
        infer, all_text: with `table`, how columns get their types; `infer` where neither is told.
        max_rejects: "100" or "2.5%". `strict` is the same as "0".
        map: dataset column -> header name or `#N`. set: dataset column or run parameter -> value.
        null: texts read as NULL in every column, besides the dataset's own.
        force: import again what was imported already. dry_run: everything but the load.
        wait: wait for another import into the same table to end, instead of refusing.
        workers: processes that load the file together; None: one.
        max_rows_per_second: the import takes at least as long as its rows do at this rate; None: as fast as it can.
    """

    source: str
    dataset: str | None = None
    table: str | None = None
    infer: bool = False
    all_text: bool = False
    mode: Mode | None = None
    commit: Commit | None = None
    max_rejects: str | None = None
    strict: bool = False
    map: Mapping[str, str] = field(default_factory=dict)
    set: Mapping[str, str] = field(default_factory=dict)
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None
    no_header: bool = False
    skip_lines: int | None = None
    null: tuple[str, ...] = ()
    stray_quotes: StrayQuotes | None = None
    short_rows: ShortRows | None = None
    dry_run: bool = False
    force: bool = False
    wait: bool = False
    max_rows_per_second: int | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if not self.source:
            raise UsageError("No source is named.", hint="Give the path or the URI of a file.")
        if (self.dataset is None) == (self.table is None):
            raise UsageError(
                "Name either a dataset or a table." if self.dataset is None else "Name a dataset or a table, not both.",
                hint="Use --dataset NAME for a folder under expectations/, or --table SCHEMA.NAME without one.",
            )
        if self.dataset is not None and (self.infer or self.all_text):
            raise UsageError("--infer and --all-text go with --table; a dataset has its types already.")
        if self.infer and self.all_text:
            raise UsageError("--infer and --all-text exclude each other.")
        if self.strict and self.max_rejects is not None:
            raise UsageError("--strict means --max-rejects 0; give one of the two.")
        if self.skip_lines is not None and self.skip_lines < 0:
            raise UsageError("--skip-lines cannot be negative.")
        if self.max_rows_per_second is not None and self.max_rows_per_second < 1:
            raise UsageError("--max-rows-per-second must be 1 or more.")
        if self.workers is not None and not 1 <= self.workers <= MOST_WORKERS:
            raise UsageError(f"--workers must be 1 to {MOST_WORKERS}.")
        if self.mode is Mode.REPLACE and self.commit is Commit.PROGRESSIVE:
            raise UsageError("Mode replace swaps the content in one transaction; it cannot commit progressively.")
        if self.table is not None:
            parse_table(self.table)
        self.threshold()

    def threshold(self) -> MaxRejects | None:
        """The told limit of rejected rows. Raises UsageError."""
        if self.strict:
            return MaxRejects(count=0)
        return parse_max_rejects(self.max_rejects) if self.max_rejects is not None else None

    def dialect(self) -> DialectOptions:
        """What was told about the file's form."""
        return DialectOptions(
            delimiter=self.delimiter,
            quote=self.quote,
            escape=self.escape,
            encoding=self.encoding,
            header=False if self.no_header else None,
            skip_lines=self.skip_lines,
            stray_quotes=self.stray_quotes,
            short_rows=self.short_rows,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values, for the ledger."""
        told = {name: value for name, value in asdict(self).items() if value is not None and value is not False}
        return {name: value for name, value in told.items() if value not in ((), {})}  # 0 lines to skip is told

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Request:
        """The request a ledger row holds, without `force`: resuming is not importing again."""
        kinds = {"mode": Mode, "commit": Commit, "stray_quotes": StrayQuotes, "short_rows": ShortRows, "null": tuple}
        told = {name: kinds[name](value) if name in kinds else value for name, value in values.items()}
        return replace(cls(**told), force=False)


def request_of(source: str, **options: Any) -> Request:
    """A request from options named as on the command line, texts allowed for the choices.

    Raises:
        UsageError: unknown option, or a value that is not among the choices.
    """
    choices = {"mode": Mode, "commit": Commit, "stray_quotes": StrayQuotes, "short_rows": ShortRows}
    told = {name: value for name, value in options.items() if value is not None}
    unknown = set(told) - set(Request.__dataclass_fields__)
    if unknown:
        raise UsageError(f"Unknown option: {', '.join(sorted(unknown))}.")
    for name, kind in choices.items():
        if name in told:
            try:
                told[name] = kind(told[name])
            except ValueError:
                raise UsageError(
                    f"{name} cannot be {told[name]!r}.", hint=f"Choose one of: {', '.join(kind)}."
                ) from None
    if "max_rejects" in told:
        told["max_rejects"] = str(told["max_rejects"])
    if "null" in told:
        told["null"] = (told["null"],) if isinstance(told["null"], str) else tuple(told["null"])
    return Request(source=str(source), **told)
