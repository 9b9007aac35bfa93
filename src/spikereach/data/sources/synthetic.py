"""Sessions that are made up, for a run without any download."""

import filecmp
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spikereach.config.sessions import Session
from spikereach.data.sources import Source, wrong


class Synthetic(Source):
    caption = "Data: synthetic, simulated recordings and not real neurons"
    apart = (
        "Published figures beside ours are for the real recordings and cannot be compared with "
        "ours, whose data are synthetic."
    )
    unit = "mm"
    real = False

    def fetch(self, session: Session, target: Path) -> None:
        from spikereach.data.synthetic import generate  # with all of scipy, not to plan with

        options = self.config.synthetic
        generate(session, target, duration_s=options.duration_s, seed=options.seed)

    def check(self, session: Session, path: Path) -> None:
        """Compare with one that is made elsewhere: equal sessions are equal byte by byte."""
        with TemporaryDirectory() as folder:
            self.fetch(session, made := Path(folder, path.name))
            if not filecmp.cmp(made, path, shallow=False):
                raise wrong(path, f"is not the synthetic session {session.name}")

    def key(self, session: Session) -> dict[str, Any]:
        return super().key(session) | {"synthetic": self.config.synthetic.model_dump()}

    def steps(self, session: Session) -> int:
        return round(250 * self.config.synthetic.duration_s)

    def memory_mb(self) -> int:
        """The generator keeps all of a session; a download and a copy keep a piece of it."""
        return int(500 + 1.2 * self.config.synthetic.duration_s)
