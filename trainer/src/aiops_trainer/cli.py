"""The command line: reads flags and environment, runs one command, and turns its failure into an exit code.

Only the standard library is imported here: `--help`, a bad flag and a bad specification answer at once, and a command
imports what it needs.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from aiops_trainer import __version__, termination
from aiops_trainer.errors import Reason, TrainerError

DEFAULT_PATIENCE_SECONDS = 120.0


def argument_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--termination-log",
        type=Path,
        default=termination.DEFAULT_PATH,
        metavar="FILE",
        help="file that gets the reason of a failure as JSON (default: %(default)s)",
    )
    common.add_argument(
        "--patience",
        type=float,
        default=DEFAULT_PATIENCE_SECONDS,
        metavar="SECONDS",
        help="how long to keep trying to reach MLflow and the object store (default: %(default)s)",
    )
    parser = argparse.ArgumentParser(
        prog="aiops-trainer",
        description="Trains a model for an Experiment, or converts a logged model to ONNX. Exit codes: 0 done, "
        "2 an error that the same input will always give, anything else may be tried again.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "train",
        parents=[common],
        help="train what AIOPS_TRAINER describes and log it to the run MLFLOW_RUN_ID",
        description="Environment: AIOPS_TRAINER (JSON of Experiment.spec.trainer), MLFLOW_TRACKING_URI, "
        "MLFLOW_RUN_ID, and for datasets in an object store AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
        "AWS_ENDPOINT_URL_S3, AWS_REGION, AIOPS_S3_PATH_STYLE, AWS_CA_BUNDLE.",
    )
    convert = commands.add_parser(
        "convert",
        parents=[common],
        help="convert a logged model to ONNX, with what the original answers to sample rows",
        description="Environment: MLFLOW_TRACKING_URI. Writes model.onnx, conversion.json and samples.safetensors.",
    )
    convert.add_argument("--run-id", required=True, metavar="ID", help="the MLflow run that logged the model")
    convert.add_argument("--model-id", required=True, metavar="m-ID", help="the logged model")
    convert.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="folder to write into")
    return parser


def run_command(arguments: argparse.Namespace) -> None:
    """Run the command that was asked for; raises `TrainerError`."""
    if arguments.command == "train":
        from aiops_trainer.train import train

        train(os.environ, patience_seconds=arguments.patience)
    else:
        from aiops_trainer.convert import convert

        convert(
            os.environ,
            run_id=arguments.run_id,
            model_id=arguments.model_id,
            output=arguments.output,
            patience_seconds=arguments.patience,
        )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command; a failure is told in the termination message and becomes the exit code."""
    try:
        run_command(arguments)
    except TrainerError as error:
        return termination.report_failure(arguments.termination_log, error)
    except Exception as error:  # whatever else goes wrong must still reach the operator in words
        logging.exception("the %s command failed unexpectedly", arguments.command)
        reason = Reason.TRAINING_FAILED if arguments.command == "train" else Reason.CONVERSION_FAILED
        failure = TrainerError(reason, f"unexpected {type(error).__name__}: {error}", permanent=False)
        return termination.report_failure(arguments.termination_log, failure)
    return 0


def main() -> NoReturn:
    """Entry point of `aiops-trainer`."""
    arguments = argument_parser().parse_args()
    termination.end_on_sigterm(arguments.termination_log)
    # Of the libraries only warnings: their progress is not the training's.
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiops_trainer").setLevel(logging.INFO)
    leave(execute(arguments))


def leave(exit_code: int) -> NoReturn:
    """End without MLflow's exit hooks.

    They would report an unfinished run as FINISHED, and wait minutes for a server that does not answer.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
