"""Reads CSV and Parquet files into tables, and refuses what their readers would otherwise guess or repair silently."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pandas
import pyarrow
from pyarrow.parquet import ParquetFile

from aiops_trainer.errors import Reason, TrainerError, listing, shortened

OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def invalid(uri: str, what: str) -> TrainerError:
    """The error for a file that cannot be read as the table it should be."""
    return TrainerError(Reason.INVALID_DATASET, f"dataset {uri} {what}")


def empty(uri: str, what: str) -> TrainerError:
    """The error for a dataset with nothing to learn from."""
    return TrainerError(
        Reason.DATASET_EMPTY, f"dataset {uri}: {what}; it needs at least 2 rows, a target and a feature"
    )


def read_csv(path: Path, uri: str) -> pandas.DataFrame:
    """The table of a CSV file whose first line names the columns, and whose lines all have as many fields as that."""
    try:
        names = checked_header(path, uri)
        # With these names, and no column for an index, pandas neither renames a column nor drops one.
        return pandas.read_csv(
            path, header=0, names=names, index_col=False, low_memory=False, skipinitialspace=True, encoding="utf-8-sig"
        )
    except UnicodeDecodeError as error:
        raise invalid(
            uri, f"is not CSV in UTF-8: {error}; save it as CSV in UTF-8, without compression, or as Parquet"
        ) from error
    except (csv.Error, ValueError) as error:
        raise invalid(uri, f"is not CSV in UTF-8: {error}") from error


def checked_header(path: Path, uri: str) -> list[str]:
    """The names of the columns, after a look at every line.

    pandas itself calls the second of two columns `a` `a.1`, takes the first column for an index where the first row has
    a field too many, and fills up rows that have too few.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = numbered_records(file)
        _, header = next(lines, (0, None))
        if header is None:
            raise empty(uri, "the file is empty")
        names = [name.strip() for name in header]
        check_separator(names, uri)
        check_names(names, uri)
        for line, fields in lines:
            # Every line ends in a comma in some programs' files: what comes after it is nothing.
            if len(fields) < len(names) or any(fields[len(names) :]):
                raise invalid(
                    uri,
                    f"has {len(fields)} fields in line {line}, but its first line names {len(names)} columns: "
                    'correct that line; a text with a comma in it needs quotes, "like, this"',
                )
    return names


def numbered_records(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, each with the number of its first line."""
    reader = csv.reader(file, skipinitialspace=True)
    line = 1
    for fields in reader:
        if len(fields) > 1 or (fields and fields[0].strip()):
            yield line, fields
        line = reader.line_num + 1


def check_separator(names: list[str], uri: str) -> None:
    """A header of one field is most often one of several that something else separates."""
    if len(names) > 1:
        return
    for separator, called in OTHER_SEPARATORS.items():
        if separator in names[0]:
            raise invalid(uri, f"has {called} between its columns, not commas: save it with commas")


def check_names(names: list[str], uri: str) -> None:
    """Each column has a name of its own."""
    duplicated = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if duplicated:
        values = all(is_number(name) for name in names)
        hint = " (the first line must hold the names, and seems to hold values)" if values else ""
        raise invalid(
            uri, f"has columns of the same name: {listing(duplicated)}; give each column a name of its own{hint}"
        )
    unnamed = [str(position) for position, name in enumerate(names, start=1) if not name]
    if unnamed:
        raise invalid(
            uri,
            f"has no name for column {listing(unnamed)} of {len(names)}: name it or leave it out "
            "(pandas writes its row numbers without a name: to_csv(…, index=False) leaves them out)",
        )


def is_number(text: str) -> bool:
    """Whether the text can be read as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_parquet(path: Path, uri: str) -> pandas.DataFrame:
    """The table of a Parquet file. Row labels that pandas stored with it are the table's index."""
    try:
        with ParquetFile(path) as file:
            check_names(file.schema_arrow.names, uri)
            table: pandas.DataFrame = file.read().to_pandas()
            return table
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's or the network's failure: Arrow's own complaints about the content have no number
        raise invalid(
            uri, f"is not Parquet, or it is damaged: {shortened(' '.join(str(error).split()), 600)}"
        ) from error
