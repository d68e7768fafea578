"""Tables in CSV or Parquet files: reads one from an object store or a path, and checks every column of it."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import tempfile
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy
import pandas

from aiops_trainer.datasets.dataset import Dataset
from aiops_trainer.datasets.formats import empty, invalid, read_csv, read_parquet
from aiops_trainer.errors import Reason, TrainerError, listing, shortened
from aiops_trainer.specification import FileDataset


def load_table(reference: FileDataset, environment: Mapping[str, str], patience_seconds: float) -> Dataset:
    """The table at `reference.uri`: `s3://bucket/key`, `file:///path` or a path."""
    suffix = Path(reference.uri).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise TrainerError(
            Reason.INVALID_PARAMETER, f"trainer.dataset.uri {reference.uri} must end in .csv or .parquet"
        )
    try:
        with tempfile.TemporaryDirectory(prefix="dataset-") as folder:
            if reference.uri.startswith("s3://"):
                from aiops_trainer.datasets.object_store import download

                path = Path(folder) / f"dataset{suffix}"
                download(reference.uri, path, environment, patience_seconds)
            else:
                path = local_path(reference.uri)
            table = read_file(path, reference)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(reference.uri, error) from error
    features, target = checked_columns(table, reference)
    return Dataset(
        name=Path(reference.uri).name,
        source=reference.uri,
        digest=digest,
        features=features,
        target=target,
    )


def local_path(uri: str) -> Path:
    """The path that a `file://` URI or plain path names."""
    scheme = urlsplit(uri).scheme
    if scheme not in ("", "file"):
        raise TrainerError(
            Reason.INVALID_PARAMETER,
            f"trainer.dataset.uri {uri} has an unknown scheme: write s3://<bucket>/<path> or file:///<path>",
        )
    path = Path(unquote(urlsplit(uri).path)) if scheme else Path(uri)
    if not path.is_file():
        raise TrainerError(Reason.DATASET_NOT_FOUND, f"trainer.dataset.uri {uri}: there is no such file")
    return path


def unreadable(uri: str, error: OSError) -> TrainerError:
    """The error for a disk that does not give or take the file's bytes, be it local or mounted from elsewhere."""
    if isinstance(error, PermissionError):
        return TrainerError(Reason.DATASET_FORBIDDEN, f"trainer.dataset.uri {uri} may not be read: {error}")
    return TrainerError(
        Reason.DATASET_UNREACHABLE,
        f"cannot read trainer.dataset.uri {uri}: {error}; it is tried again",
        permanent=False,
    )


def read_file(path: Path, reference: FileDataset) -> pandas.DataFrame:
    """The file as a table, its columns named by text."""
    if path.suffix.lower() == ".csv":
        return read_csv(path, reference.uri)
    table = read_parquet(path, reference.uri)
    if reference.target in table.index.names:
        table = table.reset_index(level=reference.target)
    table.columns = [str(column) for column in table.columns]
    return table.reset_index(drop=True)


def checked_columns(table: pandas.DataFrame, reference: FileDataset) -> tuple[pandas.DataFrame, pandas.Series]:
    """The features as float64 and the target, or an error that names the column at fault."""
    if reference.target not in table.columns:
        raise unknown_target(list(table.columns), reference)
    if len(table) < 2:
        raise empty(reference.uri, f"it has {len(table)} rows")
    if len(table.columns) < 2:
        raise empty(reference.uri, f'it has no column but the target "{reference.target}"')
    check_nothing_is_missing(table, reference.uri)
    numbers = {
        column: numeric_values(plain(table[column]), reference.uri)
        for column in table.columns
        if column != reference.target
    }
    return pandas.DataFrame(numbers), target_values(plain(table[reference.target]), reference.uri)


def unknown_target(columns: list[str], reference: FileDataset) -> TrainerError:
    """The error for a target that is no column; a name that differs by case or a typing error is offered."""
    names = {name.strip().casefold(): name for name in columns}
    nearest = difflib.get_close_matches(reference.target.strip().casefold(), names, n=3)
    hint = f"; did you mean {' or '.join(names[name] for name in nearest)}?" if nearest else ""
    return TrainerError(
        Reason.UNKNOWN_TARGET_COLUMN,
        f'dataset {reference.uri} has no column "{reference.target}" for trainer.dataset.target: '
        f"its columns are {listing(columns)}{hint}",
    )


def check_nothing_is_missing(table: pandas.DataFrame, uri: str) -> None:
    """Empty cells are an error, since what to put there is the user's decision."""
    missing = table.isna().sum()
    missing = missing[missing > 0]
    if not missing.empty:
        counts = [f'"{shortened(str(column), 60)}" ({count} of {len(table)} rows)' for column, count in missing.items()]
        raise TrainerError(
            Reason.MISSING_VALUES,
            f"dataset {uri} has missing values in {listing(counts, limit=10)}: fill them or leave these rows out"
            + ("; words such as NA, None and null count as missing" if uri.lower().endswith(".csv") else ""),
        )


def plain(column: pandas.Series) -> pandas.Series:
    """The column without the dictionary that its values may be encoded with."""
    if isinstance(column.dtype, pandas.CategoricalDtype):
        return column.astype(column.cat.categories.dtype)
    return column


def target_values(column: pandas.Series, uri: str) -> pandas.Series:
    """The target as numbers, booleans or text where Parquet has decimals or bytes; lists and structures are errors."""
    kinds = {type(value) for value in column} if pandas.api.types.is_object_dtype(column) else set()
    if kinds == {Decimal}:
        return column.astype(numpy.float64)
    if kinds == {bytes}:
        try:
            return column.map(bytes.decode)
        except UnicodeDecodeError as error:
            raise invalid(uri, f'has bytes that are not text in column "{column.name}": {error}') from error
    if kinds & {dict, list, numpy.ndarray, tuple}:
        raise invalid(
            uri,
            f'has lists or structures in column "{column.name}", such as {shortened(str(column.iloc[0]), 80)}: '
            "a target holds one number or text in each row",
        )
    return column


def numeric_values(column: pandas.Series, uri: str) -> numpy.ndarray:
    """The column as float64. Booleans count as 0 and 1; dates, text and infinities are errors."""
    types = pandas.api.types
    if types.is_numeric_dtype(column) and not types.is_complex_dtype(column):  # booleans are numeric here
        return finite(column.to_numpy(dtype=numpy.float64), column, uri)
    parsed = numpy.full(len(column), numpy.nan)
    if types.is_object_dtype(column) or types.is_string_dtype(column):
        with contextlib.suppress(TypeError):
            # Decimals of Parquet and numbers written as text. Of a time it would make a number in an unknown unit.
            parsed = pandas.to_numeric(column, errors="coerce").to_numpy(dtype=numpy.float64)
    rejected = numpy.flatnonzero(numpy.isnan(parsed))
    if rejected.size:
        raise non_numeric(column, int(rejected[0]), int(rejected.size), uri)
    return finite(parsed, column, uri)


def finite(values: numpy.ndarray, column: pandas.Series, uri: str) -> numpy.ndarray:
    """The values, none of them infinite."""
    rejected = numpy.flatnonzero(~numpy.isfinite(values))
    if rejected.size:
        raise non_numeric(column, int(rejected[0]), int(rejected.size), uri)
    return values


def non_numeric(column: pandas.Series, row: int, count: int, uri: str) -> TrainerError:
    """The error that shows the first value at fault; rows count from 1 and leave out the header."""
    value = shortened(str(column.iloc[row]), 80)
    return TrainerError(
        Reason.NON_NUMERIC_COLUMN,
        f'dataset {uri}: column "{column.name}" must hold finite numbers, but row {row + 1} holds "{value}" '
        f"({count} such rows); encode the column as numbers or leave it out",
    )
