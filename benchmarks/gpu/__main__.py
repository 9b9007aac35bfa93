"""`python benchmarks/gpu`, of which `make gpu` is short."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # where this package has a name
    from gpu.command import main

    sys.exit(main())
