"""What a pod leaves behind when it ends: the termination message for the operator, and a prompt end on SIGTERM."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from aiops_trainer.errors import Reason, TrainerError

DEFAULT_PATH = Path("/dev/termination-log")
"""Where the kubelet reads a container's termination message, unless the pod says otherwise."""

MAXIMUM_BYTES = 2048
"""The contract's limit; Kubernetes itself would cut at 4 KiB, in the middle of the JSON."""

EXIT_TERMINATED = 128 + signal.SIGTERM

logger = logging.getLogger(__name__)


def termination_message(reason: Reason, message: str) -> bytes:
    """The JSON for a failure, the message cut so that the whole stays within `MAXIMUM_BYTES`."""
    kept = message
    while True:
        encoded = json.dumps({"reason": reason.value, "message": kept}, ensure_ascii=False).encode()
        if len(encoded) <= MAXIMUM_BYTES:
            return encoded
        # Escaped and multi-byte characters make bytes and characters differ: cut and measure again.
        surplus = len(encoded) - MAXIMUM_BYTES
        kept = kept[: max(0, len(kept) - 1 - max(1, surplus // 6))].rstrip() + "…"


def write_termination_message(path: Path, reason: Reason, message: str) -> None:
    """Write the message for the kubelet. Outside of a pod the default file does not exist, and nothing is written."""
    if path == DEFAULT_PATH and not path.exists():
        return
    try:
        path.write_bytes(termination_message(reason, message))
    except OSError as error:
        logger.warning("cannot write the termination message to %s: %s", path, error)


def report_failure(path: Path, failure: TrainerError) -> int:
    """Tell a person and the operator why the command ends, and give its exit code."""
    print(f"{failure.reason.value}: {failure.message}", file=sys.stderr, flush=True)
    write_termination_message(path, failure.reason, failure.message)
    return failure.exit_code


def end_on_sigterm(path: Path) -> None:
    """End the process at once when Kubernetes asks for it.

    The first process of a container ignores SIGTERM unless it handles it, and a Python handler would wait until the
    main thread leaves compiled code, which a fit may stay in for minutes. A thread of its own, waiting for the blocked
    signal, does not. It must be called before any other thread starts, since threads inherit the mask.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait_for_signal() -> None:
        signal.sigwait({signal.SIGTERM})
        text = "the pod was told to stop before the work was done; it starts again in a new pod"
        print(f"{Reason.INTERRUPTED.value}: {text}", file=sys.stderr, flush=True)
        write_termination_message(path, Reason.INTERRUPTED, text)
        # No clean-up on purpose: MLflow's would report the run as finished.
        os._exit(EXIT_TERMINATED)

    threading.Thread(target=wait_for_signal, name="sigterm", daemon=True).start()
