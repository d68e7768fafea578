"""The closed set of reasons why a command fails, and whether trying again can help; docs/interfaces.md lists them."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """What the operator shows as the reason of a condition."""

    # Training
    UNKNOWN_DATASET = "UnknownDataset"
    DATASET_UNREACHABLE = "DatasetUnreachable"
    DATASET_NOT_FOUND = "DatasetNotFound"
    DATASET_FORBIDDEN = "DatasetForbidden"
    DATASET_EMPTY = "DatasetEmpty"
    INVALID_DATASET = "InvalidDataset"
    UNKNOWN_TARGET_COLUMN = "UnknownTargetColumn"
    NON_NUMERIC_COLUMN = "NonNumericColumn"
    MISSING_VALUES = "MissingValues"
    INVALID_PARAMETER = "InvalidParameter"
    TRAINING_FAILED = "TrainingFailed"
    # Conversion
    MODEL_NOT_FOUND = "ModelNotFound"
    UNSUPPORTED_FLAVOR = "UnsupportedFlavor"
    UNSUPPORTED_OPERATOR = "UnsupportedOperator"
    CONVERSION_FAILED = "ConversionFailed"
    SAMPLES_MISSING = "SamplesMissing"
    # Both
    MLFLOW_UNREACHABLE = "MLflowUnreachable"
    RUN_NOT_FOUND = "RunNotFound"
    INTERRUPTED = "Interrupted"


EXIT_RETRY = 1
"""Exit code of a failure that another attempt may not meet."""

EXIT_PERMANENT = 2
"""Exit code of a failure that the same input will always give: the Job's pod failure policy ends on it."""


class TrainerError(Exception):
    """A failure with a reason and a message that tells the user what to change."""

    def __init__(self, reason: Reason, message: str, *, permanent: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.permanent = permanent

    @property
    def exit_code(self) -> int:
        """Exit code of the command that this failure ends."""
        return EXIT_PERMANENT if self.permanent else EXIT_RETRY


def listing(names: list[str], limit: int = 20) -> str:
    """Names as text, bounded so that a table of a thousand columns still fits a message."""
    shown = ", ".join(shortened(name, 60) for name in names[:limit])
    hidden = len(names) - limit
    return f"{shown} and {hidden} more" if hidden > 0 else shown


def shortened(text: str, limit: int) -> str:
    """Text of at most `limit` characters, with an ellipsis where something was left out."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
