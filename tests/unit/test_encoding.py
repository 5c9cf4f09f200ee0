"""Encodings: exact both ways, and detected without surprises."""

from __future__ import annotations

import codecs
from encodings.aliases import aliases
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.encoding import canonical, decoder, detect, settle, to_source_bytes
from sluice.errors import SourceError, UsageError

ROUND_TRIP = ["utf-8", "cp1252", "iso8859-1", "cp1251", "utf-16-le", "utf-16-be", "utf-32-le", "cp437", "cp037"]


def decoded(data: bytes, encoding: str, *cuts: int) -> bytes:
    decode, pieces, at = decoder(encoding), [], 0
    for cut in sorted(min(cut, len(data)) for cut in cuts):
        pieces.append(decode(data[at:cut], False))
        at = cut
    return b"".join(pieces) + decode(data[at:], True)


@settings(deadline=None)  # machines are shared
@given(
    data=st.binary(max_size=300), encoding=st.sampled_from(ROUND_TRIP), cuts=st.lists(st.integers(0, 300), max_size=3)
)
def test_any_bytes_come_back_exactly_however_they_were_cut(data: bytes, encoding: str, cuts: list[int]) -> None:
    # A mark at the very beginning is no part of the text.
    for mark in (codecs.BOM_UTF8, "\ufeff".encode(encoding, "ignore")):
        data = data.removeprefix(mark) if mark else data
    while mark and data.startswith(mark):
        data = data.removeprefix(mark)
    assert to_source_bytes(decoded(data, encoding, *cuts), encoding) == data


def test_every_one_byte_encoding_of_python_is_exact() -> None:
    every = bytes(range(256))
    windows_only = {"mbcs", "oem"}
    modules = {name: import_module(f"encodings.{name}") for name in set(aliases.values()) - windows_only}
    names = [name for name, module in modules.items() if hasattr(module, "decoding_table")]
    assert len(names) > 40
    for name in names:
        assert to_source_bytes(decoded(every, canonical(name)), canonical(name)) == every, name


@settings(deadline=None)  # machines are shared
@given(text=st.text(max_size=100), encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-32-be", "gb18030"]))
def test_valid_text_becomes_its_utf8(text: str, encoding: str) -> None:
    text = text.lstrip("\ufeff")
    assert decoded(text.encode(encoding), encoding, 5, 11) == text.encode()


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"a,\x81\n", "cp1252"),
        (b"a\0\x00\xd8\n\0", "utf-16-le"),
        (b"a\0b", "utf-16-le"),
        (b"\xff\xff\xff\x7f", "utf-32-le"),
    ],
)
def test_undecodable_bytes_become_invalid_utf8(data: bytes, encoding: str) -> None:
    text = decoded(data, encoding)
    with pytest.raises(UnicodeDecodeError):
        text.decode()
    assert to_source_bytes(text, encoding) == data


def test_a_character_cut_in_two_at_the_end_is_left_out() -> None:
    assert to_source_bytes("aé€".encode()[:-1], "cp1252") == "aé".encode("cp1252")


def test_marks_are_dropped_and_only_at_the_beginning() -> None:
    assert decoded("\ufeffa\ufeffb".encode("utf-16-le"), "utf-16-le") == "a\ufeffb".encode()
    assert decoded(codecs.BOM_UTF8 + b"a", "utf-8", 1, 2) == b"a"
    assert decoded(b"\xef\xbb", "utf-8") == b"\xef\xbb"


@pytest.mark.parametrize(
    "name", ["", "klingon", "base64", "rot13", "utf-7", "idna", "iso2022_jp", "unicode_escape", "utf\x008"]
)
def test_what_is_no_encoding_of_a_file(name: str) -> None:
    with pytest.raises(UsageError, match="encoding"):
        canonical(name)


def test_names_have_one_spelling() -> None:
    assert {canonical(name) for name in ("UTF8", "utf-8-sig", "ascii", " utf_8 ")} == {"utf-8"}
    assert canonical("latin-1") == canonical("ISO-8859-1")


@pytest.mark.parametrize(
    ("data", "told", "expected"),
    [
        (b"\xff\xfea\0", None, "utf-16-le"),
        (b"\xff\xfea\0", "utf-16", "utf-16-le"),
        (b"\xfe\xff\0a", "UTF16", "utf-16-be"),
        (b"\xff\xfe\0\0a\0\0\0", None, "utf-32-le"),
        (codecs.BOM_UTF8 + b"a", None, "utf-8"),
        ("id,näme\n1,x\n".encode("utf-16-le"), None, "utf-16-le"),
        ("id,näme\n1,x\n".encode("utf-16-be"), "utf-16", "utf-16-be"),
        ("id,näme\n1,x\n".encode("utf-32-be"), None, "utf-32-be"),
        (b"ab", "utf-16", "utf-16-le"),
        (b"caf\xe9", "koi8-r", "koi8-r"),
        (b"", None, "utf-8"),
    ],
)
def test_settled(data: bytes, told: str | None, expected: str) -> None:
    assert settle(data, told, complete=True) == expected


@pytest.mark.parametrize("told", ["cp1252", "utf-16-be", "utf-8"])
def test_a_mark_that_contradicts_what_was_told_stops(told: str) -> None:
    with pytest.raises(SourceError, match="byte order mark of utf-16-le"):
        settle(b"\xff\xfea\0", told, complete=True)


WESTERN = "id,city,note\n1,Düsseldorf,“schön”\n2,Málaga,año – 5 €\n3,Besançon,l’été\n4,São Paulo,ação\n5,Århus,blåbær\n"
POLISH = (
    "id,miasto\n1,Łódź\n2,Kraków\n3,Wrocław\n4,Gdańsk\n5,Częstochowa\n6,Żywiec\n7,Świnoujście\n8,Zażółć gęślą jaźń\n"
    * 3
)
RUSSIAN = "номер,город,имя\n1,Москва,Иван Петров\n2,Санкт-Петербург,Мария Сидорова\n3,Новосибирск,Алексей\n" * 3
CHINESE = "编号,城市,姓名\n1,北京,王小明\n2,上海,李华\n3,广州,张伟先生\n4,深圳市南山区,陈晓\n" * 5
TURKISH = "id,şehir\n1,İstanbul\n2,Şişli\n3,Beşiktaş\n4,Ağrı\n5,Çanakkale\n6,Eskişehir\n7,Muğla\n8,Diyarbakır\n" * 4
ICELANDIC = "id,nafn\n1,Þórður Jónsson\n2,Guðrún Sigríður\n3,Ísafjörður\n4,Hafnarfjörður\n5,Æðey\n6,Ýmir\n" * 4
JAPANESE = "番号,都市,氏名\n1,東京都新宿区,山田太郎さん\n2,大阪市,鈴木はなこ\n3,なごや,たなか\n" * 5


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (WESTERN, "cp1252"),
        (ICELANDIC, "cp1252"),
        (TURKISH, "cp1254"),
        (POLISH, "cp1250"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (CHINESE, "gb18030"),
        (JAPANESE, "cp932"),
        (JAPANESE, "euc_jp"),
    ],
)
def test_legacy_encodings_are_found_by_their_text(text: str, encoding: str) -> None:
    found = detect(text.encode(encoding), complete=True)
    assert text.encode(encoding).decode(found) == text
    assert {detect(text.encode(encoding), complete=True) for _ in range(3)} == {found}


def test_one_bad_byte_does_not_change_a_files_encoding() -> None:
    assert detect("id,name\n1,Zoë\n2,Zoë\n".encode() + b"3,Zo\xeb\n", complete=True) == "utf-8"
    assert detect(b"id,name\n1,Ann\n2,B\xffb\n", complete=True) == "utf-8"
    assert detect(b"id,name\n1,Ann\n2,\xc3(\n", complete=True) == "utf-8"
    assert detect(b"id,name\n1,Ann\n2,caf\xe9\n", complete=True) == "cp1252"


def test_a_character_cut_in_two_is_no_error_in_a_sample() -> None:
    data = "größe".encode()[:3]
    assert data[-1] == 0xC3
    assert detect(data, complete=False) == "utf-8"


@settings(deadline=None)  # machines are shared
@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_utf8_is_always_recognised(text: str) -> None:
    assert settle(text.encode(), None, complete=True) == "utf-8"
