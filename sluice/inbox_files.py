"""What is done to dropped files: look, take, move away. Each step is one rename or link, so that a process killed
between two of them leaves what the next look repairs. Nothing is ever overwritten.
"""

from __future__ import annotations

import errno
import fcntl
import filecmp
import hashlib
import json
import os
import secrets
import shutil
import signal
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sluice.inbox import (
    DONE,
    IMPORTING,
    REQUIRE_DONE,
    UNFINISHED,
    WHY,
    Attempt,
    Dropped,
    Stamp,
    fitted,
    is_data,
    safe_name,
)

#: In `.importing`: whoever takes files of the dataset holds it.
_LOCK = ".lock"

#: In a claim's folder: which attempt is under way.
_ATTEMPT = ".attempt.json"

#: File systems without hard links say one of these.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EACCES}


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a dataset's folder. `odd`: what will never be taken, name -> why."""

    files: tuple[Dropped, ...]
    odd: dict[str, str]
    marks_only: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """The files of one flow run, in `<inbox>/<dataset>/.importing/<key>`; the oldest first."""

    dataset: str
    key: str
    folder: Path
    files: tuple[Path, ...]

    @property
    def day(self) -> str:
        """The day it was taken, UTC."""
        return f"{self.key[:4]}-{self.key[4:6]}-{self.key[6:8]}"


@dataclass(frozen=True, slots=True)
class TakenFile:
    """One of them, to be imported and moved away. `home`: where the archive is."""

    claim: Taken
    path: Path
    home: Path

    @property
    def dataset(self) -> str:
        return self.claim.dataset

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def source(self) -> str:
        return str(self.path)

    @property
    def origin(self) -> str:
        """Where it came from, in words."""
        return f"Taken: {self.claim.key[:15]} UTC, out of {self.claim.folder.parents[1]}."

    def sha256(self) -> str:
        """Of its content. Reads it through.

        Raises:
            OSError: it cannot be read.
        """
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def archive(self, name: str) -> bool:
        """Move it to `archive/<dataset>/<day>/`. False where somebody else did."""
        return archive(self.path, self.home, self.claim, name) is not None

    def fail(self, name: str, why: str) -> bool:
        """Move it to `failed/<dataset>/`, with a text beside it that says why; otherwise as `archive`."""
        return fail(self.path, self.home, self.claim, name, why) is not None


def look(folder: Path) -> Seen:
    """What lies in a dataset's folder. A file that vanishes meanwhile is not in it.

    Raises:
        OSError: the folder cannot be read.
    """
    files, names, odd = [], set(), {}
    with os.scandir(folder) as entries:
        for entry in entries:
            names.add(entry.name)
            if not is_data(entry.name):
                continue
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    files.append(Dropped(folder / entry.name, _stamp(status)))
                else:
                    odd[entry.name] = f"It is {_kind(status.st_mode)}; only plain files are imported."
    found = [Dropped(file.path, file.stamp, file.path.name + DONE in names) for file in files]
    return Seen(tuple(found), odd, REQUIRE_DONE in names)


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"


def written_to(path: Path) -> bool | None:
    """Whether some process of this machine has the file open for writing; None where that cannot be told.

    Linux refuses a read lease on such a file (fcntl(2), F_SETLEASE). A lease needs the file's owner.

    Raises:
        PermissionError: it may not be read.
        FileNotFoundError: it is gone.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        if not hasattr(fcntl, "F_SETLEASE"):
            return None
        fcntl.fcntl(
            descriptor, fcntl.F_SETSIG, signal.SIGURG
        )  # who opens it now sends us a signal: one that is ignored
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(descriptor)


def new_key() -> str:
    """A claim's key: the time, so that claims sort by it, and chance, so that no two are alike."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def take(folder: Path, files: Sequence[Dropped], key: str | None = None) -> Taken | None:
    """Move files of a dataset's folder into a claim; None where others were faster, or there is a claim already: its
    files come before these.

    A file that is not what was looked at (replaced, or written to, since) is put back.
    """
    key = key or new_key()
    with _alone(folder) as alone:
        if not alone or any(not name.startswith(".") for name in os.listdir(folder / IMPORTING)):
            return None
        making = folder / IMPORTING / (UNFINISHED + key)
        making.mkdir()
        names: list[str] = []
        try:
            for file in files:
                name = safe_name(file.path.name, names)
                if _take_one(file, making / name):
                    names.append(name)
            if not names:
                making.rmdir()
                return None
            making.rename(making.with_name(key))
        except FileNotFoundError:  # another watcher has adopted it: no lock holds on this file system
            return None
    return taken(folder, key)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether nobody else takes files of a dataset's folder; the kernel lets go of the lock when its process dies.

    Where a file system has no locks everybody is told so. Then a claim may be adopted while it is made, and its maker
    finds out by its next step.
    """
    (folder / IMPORTING).mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / IMPORTING / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    alone = True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        alone = False
    except OSError:
        pass
    try:
        yield alone
    finally:
        os.close(descriptor)


def _take_one(file: Dropped, target: Path) -> bool:
    if file.marked:  # before its file: a marker left behind would vouch for the next file of that name
        with suppress(FileNotFoundError):
            os.rename(f"{file.path}{DONE}", f"{target}{DONE}")
    try:
        os.rename(file.path, target)
    except FileNotFoundError:
        if not target.parent.exists():
            raise
        _put_back(Path(f"{target}{DONE}"), file.path.parent, f"{file.path.name}{DONE}")
        return False
    if _stamp(os.lstat(target)) == file.stamp:
        return True
    _put_back(target, file.path.parent, file.path.name)
    _put_back(Path(f"{target}{DONE}"), file.path.parent, f"{file.path.name}{DONE}")
    return False


def _put_back(path: Path, folder: Path, name: str) -> None:
    """Back into the inbox; under another name where that one is in use again."""
    with suppress(FileNotFoundError):
        move(path, folder, name)


def claims(folder: Path) -> Iterator[Taken]:
    """The claims of a dataset's folder, the oldest first, after adopting one that lost its process."""
    if any(name.startswith(UNFINISHED) for name in _names(folder / IMPORTING)):
        with _alone(folder) as alone:
            for name in _names(folder / IMPORTING) if alone else ():
                if name.startswith(UNFINISHED):
                    _adopt(folder, folder / IMPORTING / name)
    for name in sorted(_names(folder / IMPORTING)):
        if not name.startswith((UNFINISHED, ".")) and (found := taken(folder, name)) is not None:
            yield found


def _adopt(folder: Path, making: Path) -> None:
    with suppress(FileNotFoundError):
        making = making.rename(making.with_name(making.name.removeprefix(UNFINISHED)))
        names = set(os.listdir(making))
        for name in names:
            if name.endswith(DONE) and name.removesuffix(DONE) not in names:
                _put_back(making / name, folder, name)


def taken(folder: Path, key: str) -> Taken | None:
    """The claim of that key, None where there is none (any more)."""
    found = []
    try:
        with os.scandir(folder / IMPORTING / key) as entries:
            for entry in entries:
                if is_data(entry.name):
                    with suppress(FileNotFoundError):
                        found.append((entry.stat(follow_symlinks=False).st_mtime_ns, Path(entry.path)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Taken(folder.name, key, folder / IMPORTING / key, tuple(path for _, path in sorted(found)))


def release(claim: Taken) -> None:
    """Remove the folder of a claim whose files have all been moved away."""
    for name in (_ATTEMPT, *(name for name in _names(claim.folder) if name.endswith(DONE))):
        with suppress(FileNotFoundError):
            (claim.folder / name).unlink()
    with suppress(OSError):
        claim.folder.rmdir()


def _names(folder: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return os.listdir(folder)
    return []


def read_attempt(claim: Taken) -> Attempt:
    """Which attempt of a claim is under way; the first, where nothing was written down."""
    try:
        return Attempt(**json.loads((claim.folder / _ATTEMPT).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return Attempt(left=len(claim.files))


def write_attempt(claim: Taken, attempt: Attempt) -> None:
    """Write it down before it is begun, so that every watcher asks for the same run."""
    with suppress(FileNotFoundError):  # another watcher has settled it
        _write(claim.folder / _ATTEMPT, json.dumps(asdict(attempt)))


def archive(path: Path, home: Path, claim: Taken, name: str) -> Path | None:
    """Move a finished file to `archive/<dataset>/<day>/`. None where somebody else did."""
    return _moved(path, home / "archive" / claim.dataset / claim.day, name)


def fail(path: Path, home: Path, claim: Taken, name: str, why: str) -> Path | None:
    """Move a failed file to `failed/<dataset>/`, with a text beside it that says why."""
    folder = home / "failed" / claim.dataset
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / fitted("", name, WHY)
    _write(text, why)  # first: no file is to lie there without one
    moved = _moved(path, folder, name)
    if moved is None and not (folder / name).exists():
        text.unlink(missing_ok=True)
    elif moved is not None and moved.name != name:
        _write(folder / fitted("", moved.name, WHY), why)
    return moved


def _moved(path: Path, folder: Path, name: str) -> Path | None:
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        return move(path, folder, name)
    return None


def notice(path: Path, text: str) -> None:
    """Write a text for people where they look; best effort, as the folder may be read-only."""
    with suppress(OSError):
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, text)


def forget(home: Path, dataset: str, name: str) -> None:
    """Remove the text on a file that has gone back into the inbox, or can be read at last."""
    folder = home / "failed" / dataset
    with suppress(OSError):
        if not (folder / name).exists():
            (folder / fitted("", name, WHY)).unlink()


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{secrets.token_hex(8)}.tmp")
    part.write_text(text, encoding="utf-8", errors="backslashreplace")
    part.replace(path)


def move(path: Path, folder: Path, name: str) -> Path:
    """Move a file without ever overwriting another; begun again after a crash, it ends the same.

    A name in use is numbered, unless it holds this very file or its like byte for byte: then nothing is to be kept.

    Raises:
        FileNotFoundError: `path` is gone; somebody else moved it.
        OSError: the disk is full, or the folder may not be written to.
    """
    number = 1
    while True:
        target = folder / (name if number == 1 else fitted(f"{number}-", name))
        try:
            _link(path, target)
        except FileExistsError:
            if not (os.path.samefile(path, target) or _alike(path, target)):
                number += 1
                continue
        path.unlink()
        return target


def _alike(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _link(path: Path, target: Path) -> None:
    """A second name for the file; a copy of it where that is on another file system, or there are no links."""
    try:
        os.link(path, target, follow_symlinks=False)
        return
    except OSError as error:
        if error.errno != errno.EXDEV and error.errno not in _NO_LINKS:
            raise
    if target.exists():
        raise FileExistsError(target)
    part = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        shutil.copy2(path, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        try:
            os.link(part, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            part.rename(target)
    finally:
        part.unlink(missing_ok=True)
