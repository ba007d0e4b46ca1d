"""
Items of the catalog on disk, one to a line, until all of them are there.

Source: https://github.com/stac-utils/stac-geoparquet (the specification of STAC-GeoParquet) for the table made of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from airflow_provider_sentinelhub.client.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedWriter
    from pathlib import Path
    from types import TracebackType

MOST_BYTES = 64 * 1024**3
_CHUNK_BYTES = 4 * 1024**2


class Spool:
    """
    A file with one JSON document on each line, as in NDJSON.

    :param path: The file; replaced if it exists.
    """

    def __init__(self, path: Path) -> None:
        import msgspec

        self.path = path
        self.count = 0
        self._size = 0
        self._file: BufferedWriter = path.open("wb")
        self._encode = msgspec.json.Encoder().encode_lines

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, documents: list[Any]) -> None:
        """
        Write documents.

        :param documents: JSON, or texts of it as ``msgspec.Raw``.
        :raises UnexpectedAnswer: They are nested too deeply, or the file becomes too large.
        """
        try:
            text = self._encode(documents)
        except RecursionError as e:
            raise UnexpectedAnswer("The catalog returned items that are nested too deeply. Please report it.") from e
        if text.count(b"\n") != len(documents):
            text = self._encode([_on_one_line(each) for each in documents])
        self._size += len(text)
        if self._size > MOST_BYTES:
            raise UnexpectedAnswer(
                f"The catalog returned more than {MOST_BYTES:,} bytes of items. Search for less at a time."
            )
        self._file.write(text)
        self.count += len(documents)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def _on_one_line(document: Any) -> Any:
    import msgspec

    # A line break within a string of JSON is always escaped.
    is_text = isinstance(document, msgspec.Raw)
    return msgspec.Raw(bytes(document).replace(b"\r", b" ").replace(b"\n", b" ")) if is_text else document


def chunks(path: Path) -> Iterator[list[bytes]]:
    """
    Yield the lines of a file, some megabytes at a time.

    :param path: The file.
    """
    lines: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        for line in file:
            lines.append(line)
            size += len(line)
            if size >= _CHUNK_BYTES:
                yield lines
                lines, size = [], 0
    if lines:
        yield lines
