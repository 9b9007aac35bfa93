"""Programs of the system that this package runs, such as git: each within a time."""

import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)


class Ended(NamedTuple):
    """A program that has ended."""

    code: int
    printed: str
    errors: str


def run(
    command: Sequence[str],
    *,
    limit_s: float,
    folder: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program to its end.

    One that hangs is killed with all that it started, and not waited for: within a driver that
    does not return, the kernel does not end it either.

    Args:
        command: the program and its arguments.
        limit_s: how long it may take.
        folder: in which it runs; None for that of this process.
        environment: its variables; None for those of this process.
    Raises:
        OSError: it cannot be started, as where it is absent.
        TimeoutError: it did not end in time.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        printed, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{command[0]} did not end within {limit_s:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
            process.stdout.close()
            process.stderr.close()
    return Ended(process.returncode, printed, errors)


def ask(
    command: Sequence[str],
    *,
    limit_s: float,
    otherwise: str,
    environment: Mapping[str, str] | None = None,
) -> str | None:
    """What a program prints; None where it is absent, fails, or gives no answer in time.

    Args:
        command: the program and its arguments.
        limit_s: how long an answer may take.
        otherwise: what follows from no answer, and the remedy, for the warning.
        environment: its variables; None for those of this process.
    """
    try:
        ended = run(command, limit_s=limit_s, environment=environment)
    except TimeoutError:
        log.warning("%s gave no answer within %g s: %s", " ".join(command), limit_s, otherwise)
        return None
    except OSError:
        return None
    return ended.printed if ended.code == 0 else None
