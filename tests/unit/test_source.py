"""Sources: every store, compression and encoding gives the same text; what is not text is refused."""

from __future__ import annotations

import bz2
import fcntl
import gzip
import hashlib
import importlib.util
import io
import lzma
import os
import pickle
import stat
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
import zstandard

from sluice.errors import SluiceError, SourceError, SourceUnavailable, UsageError
from sluice.location import locate
from sluice.source import SAMPLE_SIZE, sample, snapshot

TEXT = "id,name\n" + "".join(f"{i},Zoë {i}\r\n" for i in range(150_000))
BODY = TEXT.encode()


def zipped(data: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("data/a.csv",):
            archive.writestr(name, data)
    return file.getvalue()


HALF = len(BODY) // 2
STORED: dict[str, bytes] = {
    "plain": BODY,
    "bom": b"\xef\xbb\xbf" + BODY,
    "utf16": TEXT.encode("utf-16"),
    "utf16be-without-mark": TEXT.encode("utf-16-be"),
    "latin": TEXT.encode("cp1252"),
    "gzip": gzip.compress(BODY, 1),
    "gzip-members-padded": gzip.compress(BODY[:HALF], 1) + gzip.compress(BODY[HALF:], 1) + b"\0" * 512,
    "bzip2": bz2.compress(BODY[:HALF]) + bz2.compress(BODY[HALF:]),
    "xz": lzma.compress(BODY, preset=0),
    "zstd-frames": zstandard.compress(BODY[:HALF]) + zstandard.compress(BODY[HALF:]),
    "zip": zipped(BODY),
    "zip-macos": zipped(BODY, "a.csv", "__MACOSX/._a.csv"),
    "gzip-utf16": gzip.compress(TEXT.encode("utf-16"), 1),
}


class Handler(BaseHTTPRequestHandler):
    """Serves STORED without ranges or lengths for HEAD; /broken-off, /503 and so on misbehave."""

    def do_GET(self) -> None:
        name = self.path.strip("/").split("?")[0]
        if name.isdigit():
            self.send_error(int(name))
            return
        data = STORED["plain" if name == "broken-off" else name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: 1024 * 1024 + 5000] if name == "broken-off" else data)

    def log_message(self, *_: object) -> None:
        """Silent."""


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that stops reading after its sample is no error."""


@pytest.fixture(scope="module")
def http() -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., str]:
    def write(data: bytes, name: str = "a.csv") -> str:
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    return write


def check(uri: str, stored: bytes, body: bytes, spool: Path) -> None:
    head = sample(uri)
    assert body.startswith(head.text)
    assert head.text.endswith(b"\n")
    assert head.complete == (head.text == body)
    blocks: list[bytes] = []
    with snapshot(uri, head.encoding, spool, on_block=blocks.append, begins_with=head.text) as snap:
        assert b"".join(blocks) == body
        assert (snap.size, snap.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
        assert snap.text_size == len(body)
        assert snap.read(0, snap.text_size) == body
        assert snap.read(7, 7) == b""
        middle = len(body) // 3
        assert snap.read(middle, middle + 100) == body[middle : middle + 100]
        with pickle.loads(pickle.dumps(snap.text)).open() as reader:
            assert reader.read(10, 20) == body[10:20]
        with pytest.raises(ValueError, match="not within"):
            snap.read(0, snap.text_size + 1)
    assert not spool.exists() or not list(spool.iterdir())


@pytest.mark.parametrize("name", STORED)
def test_local(name: str, put: Callable[..., str], tmp_path: Path) -> None:
    check(put(STORED[name]), STORED[name], BODY, tmp_path / "spool")


@pytest.mark.parametrize("name", STORED)
def test_http(name: str, http: str, tmp_path: Path) -> None:
    check(f"{http}/{name}", STORED[name], BODY, tmp_path / "spool")


def test_another_remote_store(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/bucket/a.csv.gz", STORED["gzip"])
    check("memory://bucket/a.csv.gz", STORED["gzip"], BODY, tmp_path)
    with pytest.raises(SourceError, match=r"There is no memory://bucket/b\.csv"):
        sample("memory://bucket/b.csv")


def test_a_plain_local_file_is_not_copied(put: Callable[..., str], tmp_path: Path) -> None:
    path = put(b"\xef\xbb\xbfa\n1\n")
    with snapshot(path, "utf-8", tmp_path / "spool") as snap:
        assert snap.text.path == path
        assert snap.read(0, 4) == b"a\n1\n"
    assert not (tmp_path / "spool").exists()


def test_names_and_addresses(put: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(b"a\n", "with blank.csv")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in (
        "~/with blank.csv",
        "with blank.csv",
        f"file://{tmp_path}/with%20blank.csv",
        f"file:{tmp_path}/with%20blank.csv",
    ):
        assert locate(name).path == Path(path)
        assert sample(name).text == b"a\n"
    assert locate(path).name == "with blank.csv"


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", gzip.compress(b""), b"\xff\xfe"])
def test_an_empty_file_is_a_source(data: bytes, put: Callable[..., str], tmp_path: Path) -> None:
    head = sample(put(data))
    assert (head.text, head.complete) == (b"", True)
    with snapshot(put(data), head.encoding, tmp_path / "spool") as snap:
        assert (snap.text_size, snap.read(0, 0)) == (0, b"")


def test_samples_end_with_a_line(put: Callable[..., str]) -> None:
    assert len(sample(put(BODY)).text) <= SAMPLE_SIZE
    assert sample(put(b"x" * (SAMPLE_SIZE + 5))).text == b"x" * SAMPLE_SIZE
    assert sample(put(b"x\r" * SAMPLE_SIZE)).text.endswith(b"\r")
    assert sample(put(b"a\nb")).text == b"a\nb"


WHOLE = {name: STORED[name] for name in ("gzip", "bzip2", "xz", "zstd-frames", "zip")}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("lost", [1, 5, 1000])
def test_archives_cut_off(name: str, lost: int, put: Callable[..., str], tmp_path: Path) -> None:
    path = put(WHOLE[name][:-lost])
    with (
        pytest.raises(SourceError, match=r"ends in the middle|damaged") as caught,
        snapshot(path, "utf-8", tmp_path / "s"),
    ):
        pytest.fail("an incomplete file was accepted")
    assert path in str(caught.value)
    assert not list((tmp_path / "s").iterdir())


@pytest.mark.parametrize("name", WHOLE)
def test_damaged_archives(name: str, put: Callable[..., str], tmp_path: Path) -> None:
    data = bytearray(WHOLE[name])
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(SourceError, match=r"damaged|ends in"), snapshot(put(bytes(data)), "utf-8", tmp_path / "s"):
        pytest.fail("a damaged file was accepted")


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd-frames"])
def test_rubbish_behind_an_archive(name: str, put: Callable[..., str], tmp_path: Path) -> None:
    with (
        pytest.raises(SourceError, match=r"damaged|ends in"),
        snapshot(put(WHOLE[name] + b"rubbish"), "utf-8", tmp_path / "s"),
    ):
        pytest.fail("rubbish was accepted")


def encrypted() -> bytes:
    data = bytearray(zipped(b"a\n", "a.csv"))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + at] |= 1
    return bytes(data)


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"))
    return file.getvalue()


REFUSED = {
    "PNG image": b"\x89PNG\r\n\x1a\n\0\0",
    "PDF": b"%PDF-1.7\n",
    "Parquet": b"PAR1\x15\x04",
    "program": b"\x7fELF\x02\x01",
    "old Excel": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100),
    "Excel workbook": zipped(b"x", "[Content_Types].xml", "xl/workbook.xml"),
    "Office document": zipped(b"x", "[Content_Types].xml", "word/document.xml"),
    "OpenDocument": zipped(b"x", "mimetype", "content.xml"),
    "2 files ('a.csv', 'b.csv')": zipped(b"x", "a.csv", "b.csv"),
    "0 files": zipped(b"", "dir/"),
    "encrypted": encrypted(),
    "tar archive": tarred(),
    "compressed twice": gzip.compress(gzip.compress(b"a\n")),
    "not text": bytes(range(256)) * 20,
    "control bytes": b"a\0b,c\n1,2\n",
    "JSON": b'[{"a": 1}]',
    "JSON, not CSV": b'\n{"a": 1}\n{"a": 2}\n',
    "web page": b"<!DOCTYPE html><title>Log in</title>",
    "XML": b'<?xml version="1.0"?><a/>',
    "SQLite": b"SQLite format 3\0" + bytes(50),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_csv_is_refused(what: str, put: Callable[..., str]) -> None:
    with pytest.raises(SourceError) as caught:
        sample(put(REFUSED[what]))
    assert what in str(caught.value)
    assert "a.csv" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [b"{a},b\n1,2\n", b"[x],y\n1,2\n", b"id,j\n1,{}\n", b"a,b\n1,\x00\n", b"PKname,b\n", b"BZhang,x\n1,2\n", b"MZ,a\n"],
)
def test_text_that_only_looks_odd_is_read(text: bytes, put: Callable[..., str]) -> None:
    assert sample(put(text)).text == text


def test_json_is_read_where_it_is_welcome(put: Callable[..., str]) -> None:
    assert sample(put(b'[{"a": 1}]'), json=True).text == b'[{"a": 1}]'


def test_what_cannot_be_opened(put: Callable[..., str], tmp_path: Path) -> None:
    put(b"a\n", "customers.csv")
    os.mkfifo(tmp_path / "pipe")
    cases = {
        str(tmp_path / "costumers.csv"): "There is no file .*Did you mean customers.csv",
        str(tmp_path / "no" / "a.csv"): "There is no file .*directory is missing",
        str(tmp_path / "customers.csv" / "a"): "There is no file",
        str(tmp_path): "is a directory",
        str(tmp_path / "pipe"): "not a regular file",
        "ftp://host/a.csv": "does not read ftp://",
        "gopher://host/a": "does not read gopher://",
        "zip://a.csv::s3://b/c.zip": "does not read",
        "file://elsewhere/a.csv": "another machine",
        "": "not the name of a file",
        "a\0b": "not the name of a file",
    }
    for source, message in cases.items():
        with pytest.raises(SourceError, match=message):
            sample(source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read_it(put: Callable[..., str]) -> None:
    path = put(b"a\n")
    os.chmod(path, stat.S_IWUSR)
    with pytest.raises(SourceError, match="may not be read"):
        sample(path)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (404, SourceError, "There is no"),
        (403, SourceError, "denied"),
        (401, SourceError, "denied"),
        (400, SourceError, "HTTP 400"),
        (500, SourceUnavailable, "HTTP 500"),
        (503, SourceUnavailable, "HTTP 503"),
        (429, SourceUnavailable, "HTTP 429"),
    ],
)
def test_http_errors(status: int, kind: type[SluiceError], message: str, http: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        sample(f"{http}/{status}?sig=SECRET&id=7")
    assert "SECRET" not in str(caught.value)
    assert "id=7" in str(caught.value)


def test_connection_refused_may_pass() -> None:
    with pytest.raises(SourceUnavailable, match="connection failed"):
        sample("http://127.0.0.1:1/a.csv")


def test_a_download_that_breaks_off_is_no_whole_file(http: str, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable), snapshot(f"{http}/broken-off", "utf-8", tmp_path):
        pytest.fail("half a file was accepted")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["gs", "az"])  # the tests have that of s3
def test_a_missing_driver_names_its_extra(scheme: str) -> None:
    driver = {"gs": "gcsfs", "az": "adlfs"}[scheme]
    if importlib.util.find_spec(driver):
        pytest.skip(f"{driver} is installed")
    with pytest.raises(SourceError, match=r"pip install 'sluice\[(gcs|azure)\]'"):
        sample(f"{scheme}://bucket/a.csv")


def test_credentials_are_never_shown() -> None:
    location = locate("https://bob:hunter2@host:8443/d/a.csv?X-Amz-Signature=abc&format=csv&token=t#frag")
    assert location.shown == "https://host:8443/d/a.csv?X-Amz-Signature=***&format=csv&token=***"
    assert "hunter2" not in repr(location)
    assert location.name == "a.csv"


def test_a_file_that_changes_meanwhile_is_noticed(put: Callable[..., str], tmp_path: Path) -> None:
    path = put(BODY)
    changed = pytest.raises(SourceError, match="changed while it was being read")

    def append(_: bytes) -> None:
        with open(path, "ab") as file:
            file.write(b"x")

    with changed, snapshot(path, "utf-8", tmp_path, on_block=append):
        pytest.fail("the change was missed")
    with snapshot(path, "utf-8", tmp_path) as snap:
        append(b"")
        with changed:
            snap.read(0, 10)
    with snapshot(path, "utf-8", tmp_path) as snap:
        os.truncate(path, 100)
        with changed:
            snap.read(90, 110)
    put(gzip.compress(BODY))
    with changed, snapshot(path, "utf-8", tmp_path, on_block=append):
        pytest.fail("the change was missed")
    put(b"other\n")
    with changed, snapshot(path, "utf-8", tmp_path, begins_with=b"id,name\n"):
        pytest.fail("another file was taken for the sampled one")
    put(b"id")
    with changed, snapshot(path, "utf-8", tmp_path, begins_with=b"id,name\n"):
        pytest.fail("another file was taken for the sampled one")


def test_an_error_of_the_callback_is_its_own(put: Callable[..., str], tmp_path: Path) -> None:
    def fail(_: bytes) -> None:
        raise FileNotFoundError("mine")

    for data in (BODY, STORED["gzip"]):
        with (
            pytest.raises(FileNotFoundError, match="mine"),
            snapshot(put(data), "utf-8", tmp_path / "s", on_block=fail),
        ):
            pytest.fail("the error was lost")
    assert not list((tmp_path / "s").iterdir())


def test_a_full_disk_says_so(put: Callable[..., str], tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path, before = put(STORED["gzip"]), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(SourceError, match=r"no space left.*SLUICE_HOME"), snapshot(path, "utf-8", tmp_path / "s"):
            pytest.fail("a full disk was not noticed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list((tmp_path / "s").iterdir())


def test_spool_files_of_killed_processes_are_removed(put: Callable[..., str], tmp_path: Path) -> None:
    spool = tmp_path / "s"
    spool.mkdir()
    old, held, young = (spool / f"sluice-text-{name}.utf8" for name in ("old", "held", "young"))
    for path in (old, held, young):
        path.write_bytes(b"x")
    for path in (old, held):
        os.utime(path, (time.time() - 600, time.time() - 600))
    with open(held) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with snapshot(put(STORED["gzip"]), "utf-8", spool):
            pass
    assert sorted(path.name for path in spool.iterdir()) == [held.name, young.name]


def test_a_bomb_needs_no_memory(put: Callable[..., str]) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    bomb = b"".join(packer.compress(bytes(1024 * 1024).replace(b"\0", b"a")) for _ in range(200)) + packer.flush()
    path = put(bomb)
    tracemalloc.start()
    try:
        assert not sample(path).complete
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_an_unknown_encoding_is_wrong_usage(put: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match="klingon"):
        sample(put(b"a\n"), encoding="klingon")
