"""Programs of the system that this package asks something, such as git: each within a time."""

import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

log = logging.getLogger(__name__)


def ask(
    command: Sequence[str],
    *,
    limit_s: float,
    otherwise: str,
    environment: Mapping[str, str] | None = None,
) -> str | None:
    """What a program prints; None where it is absent, fails, or gives no answer in time.

    One that hangs is killed with all that it started, and not waited for: within a driver that
    does not return, the kernel does not end it either.

    Args:
        command: the program and its arguments.
        limit_s: how long an answer may take.
        otherwise: what follows from no answer, and the remedy, for the warning.
        environment: its variables; None for those of this process.
    """
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError:
        return None
    try:
        printed, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        log.warning("%s gave no answer within %g s: %s", " ".join(command), limit_s, otherwise)
        return None
    finally:
        if process.returncode is None:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
            process.stdout.close()
    return printed if process.returncode == 0 else None
