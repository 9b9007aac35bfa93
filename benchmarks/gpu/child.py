"""A process that makes the checks of one group: `python -m gpu.child`, called by the runner.

Standard input says what to do; lines of JSON go to the file descriptor that it names.
"""

import importlib
import json
import os
import sys
import time
import traceback

from gpu import stand_ins
from gpu.checks import Device, SkippedError


def main() -> None:
    asked = json.load(sys.stdin)
    pipe = os.fdopen(asked["pipe"], "w", encoding="utf-8")

    def tell(**line) -> None:
        pipe.write(json.dumps(line) + "\n")
        pipe.flush()

    device = Device(asked["device"])
    with stand_ins.installed() as absent:
        checks = list(importlib.import_module(asked["module"]).checks(device))
    mine = checks[asked["number"] :: asked["of"]]
    tell(planned=[check.name for check in mine], stand_ins=absent)
    tell(device=device.name)
    done = set(asked["done"])
    for check in mine:
        if check.name in done:
            continue
        tell(begun=check.name)
        begun, why, figures, fatal = time.perf_counter(), None, None, False
        try:
            with device.taken():
                figures, outcome = check.run(), "held"
                device.wait()
        except SkippedError as reason:
            outcome, why = "skipped", str(reason)
        except Exception as error:
            traceback.print_exc()
            outcome, why = "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
            figures, fatal = getattr(error, "figures", None), spoilt(error)
        seconds = round(time.perf_counter() - begun, 2)
        tell(name=check.name, outcome=outcome, figures=figures or {}, why=why, seconds=seconds)
        if fatal:  # the runner begins another process for the rest
            sys.exit(1)


def spoilt(error: Exception) -> bool:
    """Whether nothing more can be done on the GPU in this process."""
    names = {each.__name__ for each in type(error).__mro__}
    if "OutOfMemoryError" in names:
        return False
    return "AcceleratorError" in names or "CUDA error" in str(error)


if __name__ == "__main__":
    main()
