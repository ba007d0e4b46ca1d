"""Images on their way to a bucket: where they go, what a tar may hold, the record, and parts that fit together."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_bounds

from airflow_provider_sentinelhub.artifacts.images.delivery import Destination, Record, digest_of, publish
from airflow_provider_sentinelhub.artifacts.images.mosaic import merge, read_part
from airflow_provider_sentinelhub.artifacts.images.parts import Parts
from airflow_provider_sentinelhub.artifacts.images.tar import unpack
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, InvalidParameter
from airflow_provider_sentinelhub.client.requests.raster import Cell, Raster

TIFF = {"default": "image/tiff"}
BOTH = {**TIFF, "userdata": "application/json"}


@pytest.mark.parametrize(
    ("url", "formats", "files", "record"),
    [
        ("s3://bucket/a/b.tif", TIFF, {"default": "s3://bucket/a/b.tif"}, "s3://bucket/a/b.tif.request.json"),
        ("gs://bucket/a/", TIFF, {"default": "gs://bucket/a/default.tif"}, "gs://bucket/a/request.json"),
        (
            "file:///a/b",
            BOTH,
            {"default": "file:///a/b/default.tif", "userdata": "file:///a/b/userdata.json"},
            "file:///a/b/request.json",
        ),
        ("s3://bucket/b.tar", BOTH, {"": "s3://bucket/b.tar"}, "s3://bucket/b.tar.request.json"),
    ],
)
def test_a_url_stands_for_a_file_a_folder_or_a_tar(
    url: str, formats: dict[str, str], files: dict[str, str], record: str
) -> None:
    destination = Destination.of(url, formats)
    assert (destination.files, destination.record_url) == (files, record)
    assert destination.parts_url("d").startswith(f"{url.rstrip('/')}.parts/")


@pytest.mark.parametrize(
    ("url", "formats"),
    [
        ("s3://bucket", TIFF),
        ("s3://bucket/", BOTH),
        ("https://bucket/a.tif", TIFF),
        ("s3://bucket/a.tif?x=1", TIFF),
        ("s3://bucket/a", {**TIFF, "../b": "image/png"}),
        ("s3://bucket/a", {**TIFF, "request": "application/json"}),
    ],
)
def test_what_cannot_be_a_destination(url: str, formats: dict[str, str]) -> None:
    with pytest.raises(InvalidParameter):
        Destination.of(url, formats)


def tar(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for each in members:
            if isinstance(each, tarfile.TarInfo):
                archive.addfile(each)
                continue
            entry = tarfile.TarInfo(each[0])
            entry.size = len(each[1])
            archive.addfile(entry, io.BytesIO(each[1]))
    return path


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, "/etc/passwd"
    return entry


def test_a_tar_is_taken_apart_by_our_own_names(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", ("userdata.json", b"{}"), ("./default.tif", b"II*"))
    files = unpack(archive, BOTH, tmp_path)
    assert {name: path.read_bytes() for name, path in files.items()} == {"default": b"II*", "userdata": b"{}"}
    assert all(path.parent == tmp_path for path in files.values())


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ((("default.tif", b""), ("../../evil.sh", b"x")), "unexpected file"),
        ((("default.tif", b""), ("/userdata.json", b"x")), "unexpected file"),
        ((special("default.tif", tarfile.SYMTYPE),), "regular file"),
        ((special("default.tif", tarfile.LNKTYPE),), "regular file"),
        ((special("default.tif", tarfile.FIFOTYPE),), "regular file"),
        ((("default.tif", b"a"), ("default.tif", b"b")), "regular file"),
        ((("default.tif", b"a"), ("default.tiff", b"b")), "regular file"),
        ((("default.tif", b"a"),), "no file for output userdata"),
        ((), "no file for output default, userdata"),
    ],
)
def test_a_tar_that_is_not_what_was_asked_for(members: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ArtifactCorrupt, match=said):
        unpack(tar(tmp_path / "a.tar", *members), BOTH, tmp_path / "out")
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink() or path.name == "evil.sh"]


@pytest.mark.parametrize("content", [b"", b"II*\0" * 500, b"\x1f\x8b" + b"x" * 2000])
def test_what_is_no_tar(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ArtifactCorrupt):
        unpack(tmp_path / "a.tar", BOTH, tmp_path)


def published(tmp_path: Path) -> tuple[Storage, Destination, Record]:
    storage, destination = Storage(), Destination.of((tmp_path / "out/image.tif").as_uri(), TIFF)
    (tmp_path / "answer").write_bytes(b"II*")
    body = {"evalscript": "//"}
    record = publish(
        storage,
        destination,
        {"default": tmp_path / "answer"},
        digest=digest_of(body),
        written_by="me",
        pu=0.5,
        request=body,
    )
    return storage, destination, record


def test_the_record_is_that_of_the_files_as_they_are(tmp_path: Path) -> None:
    storage, destination, record = published(tmp_path)
    assert Record.read(storage, destination) == record
    assert (record.size, record.pu, record.written_by) == (3, 0.5, "me")
    (tmp_path / "out/image.tif").write_bytes(b"MM*")
    assert Record.read(storage, destination) is None
    (tmp_path / "out/image.tif").unlink()
    assert Record.read(storage, destination) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1}', "null", "[" * 100_000, '{"files": {"a": [1, 2]}}'])
def test_a_record_that_says_something_else_is_none(text: str, tmp_path: Path) -> None:
    storage, destination, _ = published(tmp_path)
    (tmp_path / "out/image.tif.request.json").write_text(text)
    assert Record.read(storage, destination) is None


def test_a_digest_is_that_of_everything_that_matters() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert len({digest_of({"a": 1}), digest_of({"a": 2}), digest_of({"a": 1}, 100), digest_of({"a": 1}, 200)}) == 4


@pytest.mark.parametrize("pu", [None, 0.0, 0.33333333333333331, 1e-07, 12.5])
def test_a_part_is_kept_with_its_cost(pu: float | None, tmp_path: Path) -> None:
    parts = Parts(Storage(), (tmp_path / "parts").as_uri())
    (tmp_path / "part").write_bytes(b"x")
    parts.keep(Cell(12, 0, 5, 5), pu, tmp_path / "part")
    (tmp_path / "parts/other.tif").write_bytes(b"x")
    assert {place: kept.pu for place, kept in parts.kept().items()} == {(12, 0): pu}
    parts.delete()
    assert parts.kept() == {}
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["other.tif"]


def write(path: Path, values: Any, epsg: int, box: Any, **more: Any) -> Path:
    bands, height, width = values.shape
    shape = {"width": width, "height": height, "count": bands, "dtype": values.dtype}
    place = {"crs": f"EPSG:{epsg}", "transform": from_bounds(*box, width, height)}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place, **more) as dataset:
        dataset.write(values)
    return path


@pytest.mark.parametrize(
    ("dtype", "epsg", "box"),
    [
        ("uint16", 32633, (414_310.0, 4_958_210.0, 424_610.0, 4_965_320.0)),
        # Northing is the first axis of this one.
        ("float32", 3035, (4_321_000.0, 3_210_000.0, 4_331_300.0, 3_217_110.0)),
        ("uint8", 4326, (13.1, 45.0, 13.7, 45.33)),
        ("int8", 3857, (1_000_000.0, 6_000_000.0, 1_001_030.0, 6_000_711.0)),
    ],
)
def test_parts_become_one_image(dtype: str, epsg: int, box: Any, tmp_path: Path) -> None:
    raster = Raster(box, epsg, 1030, 711)
    whole = np.random.default_rng(1).integers(-100, 100, (2, 711, 1030)).astype(dtype)
    parts = {}
    missing, *cells = raster.cells(300)
    for each in cells:
        values = whole[:, each.row : each.row + each.height, each.column : each.column + each.width]
        path = tmp_path / f"{each.row}-{each.column}.tif"
        parts[each] = write(path, values, epsg, raster.box_of(each), nodata=7)
    merge(parts, raster, tmp_path / "image.tif")
    whole[:, : missing.height, : missing.width] = 7
    with rasterio.open(tmp_path / "image.tif") as dataset:
        assert (dataset.read() == whole).all()
        assert dataset.transform[:6] == pytest.approx(raster.transform, rel=1e-15)
        assert dataset.crs.to_epsg() == epsg
        assert (dataset.nodata, dataset.overviews(1), dataset.block_shapes[0]) == (7, [2, 4], (512, 512))
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    cell = Cell(0, 0, 20, 10)
    right = write(tmp_path / "a.tif", np.zeros((1, 10, 20), "uint8"), 32633, box)
    assert read_part(right, cell).bands == 1
    with pytest.raises(ArtifactCorrupt, match="20 x 10 pixels, not 20 x 11"):
        read_part(right, Cell(0, 0, 20, 11))
    other = write(tmp_path / "b.tif", np.zeros((1, 10, 20), "uint16"), 32633, box)
    with pytest.raises(ArtifactCorrupt, match="differ"):
        merge({cell: right, Cell(0, 20, 20, 10): other}, Raster(box, 32633, 40, 10), tmp_path / "c.tif")


@pytest.mark.parametrize(
    "content",
    [b"", b"II*\0", b"\x89PNG\r\n", b'<VRTDataset rasterXSize="20" rasterYSize="10"><VRTRasterBand/></VRTDataset>'],
)
def test_only_a_geotiff_is_opened(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match="not a GeoTIFF"):
        read_part(tmp_path / "a.tif", Cell(0, 0, 20, 10))


def test_the_record_holds_the_request(tmp_path: Path) -> None:
    published(tmp_path)
    assert json.loads((tmp_path / "out/image.tif.request.json").read_text())["request"] == {"evalscript": "//"}


def test_a_record_is_of_the_image_that_its_writer_has_written(tmp_path: Path) -> None:
    destination = Destination.of(f"file://{tmp_path}/image.tif", {"default": "image/tiff"})
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(b"ours")
    theirs.write_bytes(b"them")

    def write(storage: Storage, path: Path) -> Record:
        files = {"default": path}
        return publish(storage, destination, files, digest=path.name, written_by="", pu=1, request={"of": path.name})

    class Interrupted(Storage):
        """Another image is written between the image and its record."""

        def upload(self, source: Path | bytes, url: str) -> str | None:
            etag = super().upload(source, url)
            if source == ours:
                write(Storage(), theirs)
            return etag

    write(Interrupted(), ours)
    assert Record.read(Storage(), destination) is None
    written = write(Storage(), theirs)
    assert Record.read(Storage(), destination) == written
