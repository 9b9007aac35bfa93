"""The decoder of a result in the loop, for the page of `spikereach view`."""

from collections.abc import Sequence
from pathlib import Path

from spikereach.api import load_checkpoint
from spikereach.closed_loop.control import in_loop
from spikereach.closed_loop.loop import EDGE_MM
from spikereach.closed_loop.measures import control
from spikereach.closed_loop.task import Rules
from spikereach.data.binning import BinnedSession
from spikereach.data.matfile import STEP_S
from spikereach.kinds import Kind, kind_of
from spikereach.reporting.view.loop import Looped
from spikereach.workflow.manifest import inputs


def play(result: Path, *, targets: int, synthetic_seed: int, trust: Sequence[str] = ()) -> Looped:
    """Play with the checkpoint and the session that a result was measured with.

    Every result meets the same random targets and the same noise; S1 hears of an arm that moves.

    Args:
        result: folder ``results/evaluate/SYSTEM/SESSION/seedN`` of a run.
        targets: how many.
        synthetic_seed: as of :func:`.brain_of`.
        trust: architectures outside spikereach that the checkpoint may import.
    Raises:
        ManifestError: no manifest tells the two files, or they are other ones by now.
        CheckpointError: the checkpoint needs an architecture that is not trusted.
        LoopError, EvaluationError: as :func:`.in_loop`.
    """
    files = {kind_of(path): path for path in inputs(result / "metrics.json")}
    binned = BinnedSession.load(files[Kind.BINNED])
    checkpoint = load_checkpoint(files[Kind.CHECKPOINT], trust=trust)
    decoder, rules = in_loop(checkpoint, binned, synthetic_seed), Rules(trials=targets)
    played = decoder.play(feedback="moving", rules=rules)
    until = (played.trials[:number] for number in range(1, targets + 1))
    so_far = [control(trials, rules, feedback="moving", added_delay=0) for trials in until]
    return Looped(
        gain=decoder.gain,
        lookahead_ms=decoder.lookahead * STEP_S * 1000,
        width_mm=rules.width_mm,
        edge_mm=EDGE_MM,
        trials=played.trials,
        throughput_bit_s=[each.throughput_bit_s for each in so_far],
        wanted=played.wanted,
        decoded=played.decoded,
        spikes=played.spikes[:, decoder.columns],
    )
