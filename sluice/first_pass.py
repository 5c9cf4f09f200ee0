"""What the one pass through a large file found out, kept with its import until that is complete.

An import that goes on needs the file's fingerprint and its chunks. While the file is as it was when an earlier attempt
read it, both are in the ledger, and 20 GB need not be read through once more only to see that they are the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluice.chunks import CHUNK_BYTES
from sluice.database import translated
from sluice.history import Connection
from sluice.location import Location, stamp_in
from sluice.model import Chunk
from sluice.recipe import Recipe, dialect_from
from sluice.source import Snapshot
from sluice.spool import TextFile
from sluice.storable import storable

#: Bytes of a file from which on it is worth some kilobytes in the ledger: reading them takes a third of a second.
LEAST_BYTES = 256 * 1024 * 1024

#: Nanoseconds a file must have been left alone before it was read. Some file systems' clocks tick only every other
#: second, and what is written within the tick of the last write leaves no trace. Git has the same rule:
#: https://git-scm.com/docs/racy-git
SETTLED = 2_000_000_000


@dataclass(frozen=True, slots=True)
class FirstPass:
    """A file that was read through before: its SHA-256, where its text lies, its chunks."""

    sha256: str
    text: TextFile
    chunks: list[Chunk]


def to_keep(location: Location, snap: Snapshot, chunks: Sequence[Chunk], began: int) -> dict[str, Any] | None:
    """What to keep of a pass, a JSON value; None where that is not worth it, or where a later change of the file might
    not be noticed. Only of a file that is read in place: text that was spooled is gone with the process.

    Args:
        began: the time before the pass, in nanoseconds of the epoch.
    """
    if location.path is None or snap.text.path != str(location.path) or snap.size < LEAST_BYTES:
        return None
    stamp = _stamp(location.path)
    if stamp is None or stamp[:3] != snap.text.stamp or max(stamp[2:]) > began - SETTLED:
        return None
    ends = [[chunk.byte_end, chunk.lines, int(chunk.oversize)] for chunk in chunks]
    return {"stamp": stamp, "text_start": snap.text.start, "chunks": ends}


@translated()
def recall(connection: Connection, location: Location, recipe: Recipe) -> FirstPass | None:
    """What an unfinished import of this file, into whatever table, has kept, if the file is unchanged and would be cut
    the same way. None if every value is to be looked at for its type: then there is no pass to spare."""
    stamp = _stamp(location.path) if location.path is not None and not recipe.untyped else None
    if stamp is None or stamp[1] < LEAST_BYTES:
        return None
    found = connection.execute(
        "SELECT first_pass, sha256, dialect, plan FROM sluice.imports WHERE source = %s AND first_pass IS NOT NULL"
        " AND status IN ('running', 'failed', 'cancelled') ORDER BY id DESC",
        [storable(location.shown)],
    )
    cuts = (recipe.dialect, recipe.data_start, recipe.first_line, CHUNK_BYTES)
    for kept, sha256, dialect, plan in found:
        same = (dialect_from(dialect), plan["data_start"], plan["first_line"], plan["chunk_bytes"])
        if tuple(kept["stamp"]) == stamp and same == cuts:
            start = kept["text_start"]
            text = TextFile(str(location.path), start, stamp[1] - start, stamp[:3])
            return FirstPass(sha256, text, _chunks(kept, recipe))
    return None


def _chunks(kept: Mapping[str, Any], recipe: Recipe) -> list[Chunk]:
    chunks, start, line = list[Chunk](), recipe.data_start, recipe.first_line
    for index, (end, lines, oversize) in enumerate(kept["chunks"]):
        chunks.append(Chunk(index, start, end, line, lines, bool(oversize)))
        start, line = end, line + lines
    return chunks


def _stamp(path: str | os.PathLike[str]) -> tuple[int, int, int, int] | None:
    """`stamp_in`, and the time of the last change of any kind, which no program can set back; None where no file is."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return *stamp_in(status), status.st_ctime_ns
