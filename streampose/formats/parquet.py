"""The same table as Parquet, for data frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from streampose.clip import Moment, of_one_skeleton
from streampose.errors import ConfigError, FormatUnreadable
from streampose.formats.table import columns, moments_of, rows_of
from streampose.pose import Skeleton

__all__ = ["pyarrow_here", "read_parquet", "write_parquet"]

# Frames in memory at a time.
_GROUP = 1000
_TEXTS = {"stream", "time_base", "skeleton"}
_WHOLE = {"frame", "epoch", "pts", "width_px", "height_px", "id"}


def pyarrow_here() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise ConfigError("Parquet needs pyarrow: pip install 'streampose[parquet]'") from error
    return pyarrow


def _schema(arrow: Any, skeleton: Skeleton) -> Any:
    def kind(name: str) -> Any:
        if name in _TEXTS:
            return arrow.string()
        return arrow.int64() if name in _WHOLE else arrow.float64() if name == "time_s" else arrow.float32()

    return arrow.schema([(name, kind(name)) for name in columns(skeleton)])


def write_parquet(path: Path, moments: Iterable[Moment]) -> None:
    """Groups of rows, written as they come.

    Raises:
        ConfigError: pyarrow is not installed.
        FormatUnreadable: there is not one moment, so that nobody knows the columns; or they have several skeletons.
    """
    arrow = pyarrow_here()
    moments = of_one_skeleton(moments)
    first = next(moments, None)
    if first is None:
        raise FormatUnreadable(f"{path}: there are no frames to write")
    schema = _schema(arrow, first.poses.skeleton)
    # Our own file: by a path, Arrow opens none whose name is not UTF-8.
    with path.open("wb") as file, arrow.parquet.ParquetWriter(file, schema) as writer:
        group = [first, *islice(moments, _GROUP - 1)]
        while group:
            rows = [row for moment in group for row in rows_of(moment)]
            arrays = [
                arrow.array(values, kind) for values, kind in zip(zip(*rows, strict=True), schema.types, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            group = list(islice(moments, _GROUP))


def read_parquet(path: Path) -> Iterator[Moment]:
    """Moments of a file that `write_parquet` has written.

    Raises:
        ConfigError: pyarrow is not installed.
        FormatUnreadable: it is another file.
    """
    arrow = pyarrow_here()
    with path.open("rb") as file:
        try:
            table = arrow.parquet.ParquetFile(file)
            rows = (row for batch in table.iter_batches(_GROUP) for row in batch.to_pylist())
            yield from moments_of(rows, str(path))
        except FormatUnreadable:
            raise
        # What is damaged may be a name or text of Arrow's, too: then it is a UnicodeDecodeError.
        except (arrow.ArrowException, ValueError) as error:
            raise FormatUnreadable(f"{path} is not Parquet: {error}") from error
