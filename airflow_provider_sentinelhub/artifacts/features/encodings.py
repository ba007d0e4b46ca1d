"""
The encodings of text in files, as far as a file names its own. Nothing is guessed.

The text of a Shapefile is in the encoding that its ``.cpg`` names, or else the code page of its ``.dbf``. Text that is
valid UTF-8 is taken as that; for anything else, the file has to name its encoding.

Source: https://support.esri.com/en-us/knowledge-base/read-and-write-shapefile-and-dbase-files-encoded-in-var-000013192
and https://www.clicketyclick.dk/databases/xbase/format/dbf.html (language driver ids).
"""

from __future__ import annotations

import codecs
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

UTF_8 = "utf-8"
# The longer ones first: that of UTF-16 is the beginning of that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Other formats of text, e.g. XML, say their encoding themselves.
_TEXT_FILES = {".csv", ".tsv", ".txt", ".json", ".geojson", ".geojsonl", ".geojsons"}
_CODE_PAGE = re.compile(r"(?:ansi|oem|cp|ms|win|windows|ibm)?[ _-]*(\d+)")
_ISO = re.compile(r"(?:iso)?[ _-]*8859[ _-]*(\d+)")
_CPG_BYTES = 100
_LANGUAGE_DRIVER = 29
# Number 0x57 is "the ANSI code page of the machine", which nobody else knows.
_LANGUAGE_DRIVERS = {
    "cp437": (0x01, 0x09, 0x0B, 0x0D, 0x0F, 0x11, 0x15, 0x18, 0x19, 0x1B),
    "cp737": (0x6A, 0x86),
    "cp850": (0x02, 0x0A, 0x0E, 0x10, 0x12, 0x14, 0x16, 0x1A, 0x1D, 0x25, 0x37),
    "cp852": (0x1F, 0x22, 0x23, 0x40, 0x64, 0x87),
    "cp857": (0x6B, 0x88),
    "cp860": (0x24,),
    "cp861": (0x67,),
    "cp863": (0x1C, 0x6C),
    "cp865": (0x08, 0x17, 0x66),
    "cp866": (0x26, 0x65),
    "cp874": (0x50, 0x7C),
    "cp932": (0x13, 0x7B),
    "cp936": (0x4D, 0x7A),
    "cp949": (0x4E, 0x79),
    "cp950": (0x4F, 0x78),
    "cp1250": (0xC8,),
    "cp1251": (0xC9,),
    "cp1252": (0x03, 0x58, 0x59),
    "cp1253": (0xCB,),
    "cp1254": (0xCA,),
    "cp1255": (0x7D,),
    "cp1256": (0x7E,),
    "cp1257": (0xCC,),
    "mac_roman": (0x04,),
    "mac_cyrillic": (0x96,),
    "mac_latin2": (0x97,),
    "mac_greek": (0x98,),
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """
    The encoding of the text of a source.

    :param codec: Python's name of it. Default: UTF-8.
    :param why: Why it is taken for that, for messages. Default: it is what there should be.
    :param fix: What to do about text that is in another one.
    """

    codec: str = UTF_8
    why: str = ""
    fix: str = "Write it again with text in UTF-8."

    def decoded(self, raw: bytes) -> str | bytes:
        """
        Decode text; return it as it is where it is in another encoding, so that an error can name it.

        :param raw: The text.
        """
        try:
            return raw.decode(self.codec)
        except UnicodeDecodeError:
            return raw


def encoding_of_text(path: Path) -> Encoding:
    """
    Return the encoding of a text file that names none.

    :param path: The file.
    """
    return Encoding(fix=f"Convert it to UTF-8, e.g. with: iconv -f CP1250 -t UTF-8 {path.name}.")


def encoding_of_shapefile(path: Path) -> Encoding:
    """
    Return the encoding that a Shapefile names; UTF-8 where it names none.

    :param path: The ``.shp`` file.
    """
    cpg, fix = f"{path.stem}.cpg", f"Write the number of its code page, e.g. 1250, into {path.stem}.cpg beside it."
    said = _beside(path, ".cpg", _CPG_BYTES).decode("ascii", "replace").strip()
    if codec := _codec_of(said):
        return Encoding(codec, f", which {cpg} names", fix)
    header = _beside(path, ".dbf", _LANGUAGE_DRIVER + 1)
    driver = header[_LANGUAGE_DRIVER] if len(header) > _LANGUAGE_DRIVER else 0
    for codec, drivers in _LANGUAGE_DRIVERS.items():
        if driver in drivers:
            return Encoding(codec, f", the code page of {path.stem}.dbf", fix)
    why = (
        f", and {cpg} says {said!r}, which names no encoding"
        if said
        else f", and there is no {cpg} that names its encoding"
    )
    return Encoding(why=why, fix=fix)


def _beside(path: Path, suffix: str, at_most: int) -> bytes:
    for each in (suffix, suffix.upper()):
        if (found := path.with_suffix(each)).is_file():
            with found.open("rb") as file:
                return file.read(at_most)
    return b""


def _codec_of(said: str) -> str | None:
    name = said.lower()
    if found := _ISO.fullmatch(name):
        name = f"iso8859-{found[1]}"
    elif found := _CODE_PAGE.fullmatch(name):
        name = UTF_8 if found[1] == "65001" else f"cp{found[1]}"
    try:
        # A name of Python's for something else than text is an error here.
        b"a".decode(name.replace(" ", "-"))
        return codecs.lookup(name.replace(" ", "-")).name
    except (LookupError, UnicodeError):
        return None


@contextmanager
def as_utf8(path: Path) -> Iterator[Path]:
    """
    Give a text file as UTF-8: one that begins with the mark of UTF-16 or UTF-32 is converted, into a temporary copy.

    :param path: The file.
    :raises UnicodeDecodeError: It is not what its mark says.
    """
    codec = _marked(path) if path.suffix.lower() in _TEXT_FILES and path.is_file() else None
    if codec is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="sentinelhub-text-") as folder:
        copy = Path(folder) / path.name
        with path.open(encoding=codec, newline="") as text, copy.open("w", encoding=UTF_8, newline="") as converted:
            shutil.copyfileobj(text, converted)
        yield copy


def _marked(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(4)
    return next((codec for mark, codec in _MARKS if head.startswith(mark)), None)
