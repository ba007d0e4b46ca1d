"""
The rules of the service for input GeoPackages, each with how to fix what breaks it.

Source: https://docs.planet.com/develop/apis/batch-processing/ (input GeoPackage).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import MAX_FEATURES
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MAX_PIXELS = 3500
"""Pixels a feature may have in each direction."""
MAX_SAMPLES = 2500
"""The same for statistics."""
MAX_NAME = 200
"""Characters of an identifier: a file name has 255 bytes, of which output names and suffixes need some."""
LEAST, MOST = "1e-300", "1e300"
"""Bounds of a resolution for SQLite: a number to divide by, and not infinite."""
EXAMPLES = 5
"""How many features with the same problem a message names."""


class Rule(StrEnum):
    """A rule an input GeoPackage may break."""

    IS_GEOPACKAGE = "is a GeoPackage"
    HAS_ALL_CHANGES = "has all changes"
    HAS_LAYERS = "has a feature table"
    ONE_TABLE = "has one feature table"
    HAS_FEATURES = "has features"
    AT_MOST = "has not too many features"
    EPSG = "has an EPSG code"
    KNOWN_CRS = "has a CRS the service knows"
    GEOMETRY_COLUMN = "has a geometry column"
    ID_COLUMN = "has ids"
    IDENTIFIER_COLUMN = "has identifiers"
    IDENTIFIER = "identifier is there"
    IDENTIFIER_TEXT = "identifier is text"
    IDENTIFIER_ENCODING = "identifier is UTF-8"
    IDENTIFIER_PATH = "identifier can be a path"
    IDENTIFIER_UNIQUE = "identifier is unique"
    SIZE = "has a size"
    SIZE_PAIR = "width and height go together"
    SIZE_NUMBER = "width and height are whole numbers"
    RESOLUTION = "resolution is a number"
    PIXELS = "is not too large"
    SAMPLES = "is not too large for statistics"
    ONE_PIXEL = "is not too small"
    GEOMETRY = "geometry is there"
    READABLE = "geometry can be read"
    CLOSED = "rings are closed"
    COLLECTION = "is no collection"
    POLYGON = "is a polygon"
    VALID = "is valid"
    PLACE = "lies where its CRS says"


@dataclass(frozen=True, slots=True)
class _Text:
    what: str
    rule: str
    fix: str
    is_repairable: bool = False


_MAKE = "or have it done by SentinelHubInputFeaturesOperator"
_REPAIR = f"{_MAKE} with repair=True"
_TEXTS = {
    Rule.IS_GEOPACKAGE: _Text("file", "cannot be read as a GeoPackage", "Write it again, or choose another file"),
    Rule.HAS_ALL_CHANGES: _Text(
        "file",
        "is in SQLite's WAL mode, so its latest changes may be missing: until a program closes it, they are in a -wal "
        "file beside it, which the service does not read",
        "Close it in the GIS, or run PRAGMA journal_mode=DELETE on it, and upload it again",
    ),
    Rule.HAS_LAYERS: _Text(
        "layers",
        "no feature table is registered in gpkg_geometry_columns",
        "Write it with a GIS, or with SentinelHubInputFeaturesOperator",
    ),
    Rule.ONE_TABLE: _Text(
        "layers",
        "there are {layers}, and statistics take one table in one coordinate reference system",
        "Put all features into one table, reprojected where the systems differ, or make a file and a task of each",
    ),
    Rule.HAS_FEATURES: _Text("features", "there are none", "Check the source of the file"),
    Rule.AT_MOST: _Text(
        "features",
        f"one task takes at most {MAX_FEATURES:,}",
        f"Split them over several files and tasks, {_MAKE}",
        is_repairable=True,
    ),
    Rule.EPSG: _Text(
        "coordinate reference system",
        "{layers} {have} none with an EPSG code",
        "Assign one in a GIS, or write the file again and give its code",
    ),
    Rule.KNOWN_CRS: _Text(
        "coordinate reference system",
        "{layers} {have} one the service does not know",
        "Reproject to EPSG:4326, EPSG:3857, EPSG:3035, a UTM zone (EPSG:326xx, EPSG:327xx) or another one it knows",
    ),
    Rule.GEOMETRY_COLUMN: _Text(
        "geometry", "{layers} {lack} the table or column registered for it", "Write the file again"
    ),
    Rule.ID_COLUMN: _Text(
        "id", "{layers} {lack} a column id with a different integer in each row", f"Add it, {_MAKE}", is_repairable=True
    ),
    Rule.IDENTIFIER_COLUMN: _Text(
        "identifier",
        "{layers} {lack} a column identifier",
        f"Add it, {_MAKE}: with columns={{'identifier': ...}} it takes the names from another column, without it the "
        "features are numbered",
        is_repairable=True,
    ),
    Rule.IDENTIFIER: _Text(
        "identifier",
        "{features} {have} none",
        f"Name them, {_REPAIR}: then they are numbered",
        is_repairable=True,
    ),
    Rule.IDENTIFIER_TEXT: _Text(
        "identifier",
        "{features} {have} one that is not text",
        f"Convert the column to text, {_MAKE}",
        is_repairable=True,
    ),
    Rule.IDENTIFIER_ENCODING: _Text(
        "identifier",
        "{features} {have} one that is not in UTF-8, so a reader may take it for another's",
        "Write the file again with its text in UTF-8",
    ),
    Rule.IDENTIFIER_PATH: _Text(
        "identifier",
        "{features} {have} one that cannot be in the output's path: . or .., more than "
        f"{MAX_NAME} characters, or with / \\ < > ? # or a control character",
        f"Rename them, {_REPAIR}: then the characters are replaced",
        is_repairable=True,
    ),
    Rule.IDENTIFIER_UNIQUE: _Text(
        "identifier",
        "{names} {are} used more than once, over all layers, and the output of one feature would replace the other's",
        f"Make them differ, {_REPAIR}: then a number is added",
        is_repairable=True,
    ),
    Rule.SIZE: _Text(
        "size",
        "{features} {have} neither width and height nor resolution, and there is no default",
        "Add the columns, or give width and height, or a resolution, for all",
    ),
    Rule.SIZE_PAIR: _Text(
        "size", "{features} {have} a width without a height, or the reverse", "Give both, or a resolution instead"
    ),
    Rule.SIZE_NUMBER: _Text(
        "size",
        "{features} {have} a width or height that is not a whole number above 0",
        "Correct it, or leave out both and give a resolution",
    ),
    Rule.RESOLUTION: _Text(
        "resolution", "{features} {have} one that is not a number above 0", "Correct it, or give width and height"
    ),
    Rule.PIXELS: _Text(
        "size",
        f"{{features}} {{have}} more than {MAX_PIXELS} x {MAX_PIXELS} pixels",
        "Cut them into parts, or choose a coarser resolution; its unit is that of the CRS, degrees in EPSG:4326",
    ),
    Rule.SAMPLES: _Text(
        "size",
        f"{{features}} {{have}} more than {MAX_SAMPLES} x {MAX_SAMPLES} pixels at the resolution of the request",
        "Cut them into parts, or choose a coarser resx and resy; their unit is that of the CRS",
    ),
    Rule.ONE_PIXEL: _Text(
        "size",
        "{features} would be smaller than 1 pixel in both directions",
        "Choose a finer resolution, or give width and height (for statistics, in the request); the unit is that of the "
        "CRS, degrees in EPSG:4326",
    ),
    Rule.GEOMETRY: _Text("geometry", "{features} {have} none, or an empty one", "Draw them, or leave them out"),
    Rule.READABLE: _Text(
        "geometry", "{features} {have} one that cannot be read as a GeoPackage geometry", "Write the file with a GIS"
    ),
    Rule.CLOSED: _Text(
        "geometry",
        "{features} {have} a ring that does not end where it begins",
        f"Close the rings, {_REPAIR}",
        is_repairable=True,
    ),
    Rule.COLLECTION: _Text(
        "geometry",
        "{features} {are} a GEOMETRYCOLLECTION, though of polygons only",
        f"Make a MULTIPOLYGON of each, {_REPAIR}",
        is_repairable=True,
    ),
    Rule.POLYGON: _Text(
        "geometry",
        "{features} {are} neither POLYGON nor MULTIPOLYGON",
        "Buffer points and lines, turn curves into lines, e.g. with ST_CurveToLine, or leave them out",
    ),
    Rule.VALID: _Text("geometry", "{features} {are} not valid", f"Repair them in a GIS, {_REPAIR}", is_repairable=True),
    Rule.PLACE: _Text(
        "geometry",
        "{features} {lie} outside the area of the coordinate reference system, so it is the wrong one",
        "Assign the one the coordinates are in; degrees are EPSG:4326, and longitude or easting comes first",
    ),
}
_VERBS = {"have": "has", "lack": "lacks", "are": "is", "lie": "lies"}


def _worded(rule: str, count: int) -> str:
    nouns = {f"{noun}s": f"{count:,} {noun}{'' if count == 1 else 's'}" for noun in ("feature", "layer", "name")}
    verbs = {many: one if count == 1 else many for many, one in _VERBS.items()}
    return rule.format(**nouns, **verbs)


@dataclass(frozen=True, slots=True)
class Problem:
    """
    A rule that a GeoPackage breaks.

    :param rule: The rule.
    :param count: How many features, layers or identifiers break it.
    :param examples: Names of some of them, with what was found.
    """

    rule: Rule
    count: int
    examples: tuple[str, ...]

    @property
    def is_repairable(self) -> bool:
        """Whether a repair can fix it."""
        return _TEXTS[self.rule].is_repairable

    def error(self, path: Path, *, repaired: bool = False) -> InvalidParameter:
        """
        Return the problem as an error.

        :param path: The GeoPackage.
        :param repaired: Whether it is left after a repair, so that none is recommended. Default ``False``.
        """
        text = _TEXTS[self.rule]
        fix = text.fix.partition(f", {_MAKE}")[0] if repaired else text.fix
        value = list(self.examples) if self.examples else self.count
        return InvalidParameter(f"{path.name}, {text.what}", value, _worded(text.rule, self.count), f"{fix}.")


def error_of(path: Path, problems: Sequence[Problem], *, last: str = "", repaired: bool = False) -> InvalidParameter:
    """
    Return one error that names all problems.

    :param path: The GeoPackage.
    :param problems: At least one.
    :param last: A sentence about all of them.
    :param repaired: Whether they are left after a repair. Default ``False``.
    """
    *errors, end = (problem.error(path, repaired=repaired) for problem in problems)
    first, *others = (*errors, InvalidParameter(end.field, end.value, end.rule, f"{end.fix} {last}".rstrip()))
    return first.with_others(others)


@dataclass(slots=True)
class ProblemCounts:
    """Problems while they are found: their counts, and the first few names."""

    counts: dict[Rule, int] = field(default_factory=dict)
    examples: dict[Rule, list[str]] = field(default_factory=dict)

    def add(self, rule: Rule, names: Iterable[str] = (), count: int = 1) -> None:
        """
        Count a problem.

        :param rule: The rule that is broken.
        :param names: Names of what breaks it; only as many as needed are read.
        :param count: How many break it.
        """
        self.counts[rule] = self.counts.get(rule, 0) + count
        known = self.examples.setdefault(rule, [])
        for name in names if len(known) < EXAMPLES else ():
            known.append(name)
            if len(known) == EXAMPLES:
                return

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems, in the order of the rules."""
        return tuple(
            Problem(rule, self.counts[rule], tuple(self.examples[rule])) for rule in Rule if rule in self.counts
        )
