"""Everything that can go wrong with an import as a whole, as one tree.

A bad *row* is not an error: it is routed to the error table with a code of `sluice.codes`. The classes here
end an import, or refuse to begin one::

    SluiceError
    ├── TerminalError            trying again changes nothing until somebody changes something
    │   ├── UsageError           the call itself is wrong (exit status 2)
    │   ├── SourceError          the file is missing, unreadable, incomplete or not text
    │   ├── HeaderError          the file's columns do not fit the dataset
    │   ├── DatasetError         dataset.yaml is wrong
    │   ├── SuiteError           suite.json is wrong, or holds a rule that cannot be judged chunk by chunk
    │   ├── RuleError            a rule could not be evaluated; nothing of that chunk was loaded
    │   ├── TargetError          the target table does not fit the dataset, or may not be written
    │   ├── DatabaseError        the database refused: address, password, rights, space
    │   ├── AlreadyImported      this very content is in the table
    │   ├── TableBusy            another import is writing to this table
    │   ├── Superseded           a newer attempt has taken this import over
    │   ├── ImportCancelled      somebody cancelled it
    │   ├── ThresholdExceeded    more bad rows than allowed
    │   ├── ExpectationFailed    a rule about the whole file does not hold
    │   └── IdentityMismatch     the counts do not add up: a bug in Sluice, never to be ignored
    └── TransientError           the same call may succeed in a minute
        ├── DatabaseUnavailable  no connection, or it was lost
        ├── WorkersLost          every process that loaded the import has died
        └── SourceUnavailable    the remote store did not answer
"""

from __future__ import annotations


class SluiceError(Exception):
    """Something went wrong.

    The message of an error without one of its own is the first paragraph of its class's docstring.
    `hint` says what to do next; `file`, `line` (1-based, as an editor counts) and `column` say where.
    """

    exit_status = 1
    #: The import that failed with it, once there is one in the ledger.
    import_id: int | None = None

    def __init__(
        self,
        message: str | None = None,
        *,
        hint: str | None = None,
        file: str | None = None,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").split("\n\n")[0].strip()
        self.hint = hint
        self.file = file
        self.line = line
        self.column = column
        super().__init__(self.message)

    def __str__(self) -> str:
        place = [self.file] if self.file else []
        if self.line is not None:
            place.append(f"line {self.line}")
        if self.column is not None:
            place.append(f"column {self.column}")
        text = f"{', '.join(place)}: {self.message}" if place else self.message
        return f"{text} {self.hint}" if self.hint else text


class TerminalError(SluiceError):
    """Trying again changes nothing until somebody changes something."""


class TransientError(SluiceError):
    """It may work in a minute; nothing was lost."""


class UsageError(TerminalError):
    """The call is wrong."""

    exit_status = 2


class SourceError(TerminalError):
    """The file cannot be read."""


class HeaderError(TerminalError):
    """The file's columns do not fit the dataset."""


class DatasetError(TerminalError):
    """dataset.yaml is wrong."""


class SuiteError(TerminalError):
    """suite.json is wrong."""


class RuleError(TerminalError):
    """A rule could not be evaluated, so no row it should have judged was loaded."""


class TargetError(TerminalError):
    """The target table does not fit."""


class DatabaseError(TerminalError):
    """The database refused."""


class AlreadyImported(TerminalError):
    """This file was already imported.

    `imported_as` is the number of the import that holds its rows.
    """

    def __init__(self, message: str | None = None, *, import_id: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.imported_as = import_id


class TableBusy(TerminalError):
    """Another import is writing to this table."""


class Superseded(TerminalError):
    """A newer attempt has taken this import over; this one stopped without committing anything more."""


class ImportCancelled(TerminalError):
    """The import was cancelled; what it had committed is kept."""


class ThresholdExceeded(TerminalError):
    """More rows were rejected than allowed."""


class ExpectationFailed(TerminalError):
    """A rule about the whole file does not hold."""


class IdentityMismatch(TerminalError):
    """The counts do not add up: records are not loaded + updated + unchanged + skipped + rejected."""


class DatabaseUnavailable(TransientError):
    """The database cannot be reached, or the connection was lost."""


class SourceUnavailable(TransientError):
    """The store that holds the file did not answer."""


class WorkersLost(TransientError):
    """Every process that loaded the import has died."""
