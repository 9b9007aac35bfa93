"""The command that closes the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from spikereach.cli.inputs import checkpoint_and_session, config_of
from spikereach.cli.options import CheckpointFile, Configs, Json, Trust
from spikereach.cli.outputs import show

_CONTROL = """\
{system} in the loop on {session}: user and brain are simulated
{trials} trials, {task} targets, S1 {feedback}; velocities times {gain:.3f}
latency            {delay_ms:g} ms of look-ahead and added delay
success            {success_rate:.0%}
time to target     {time} median
dial-in            {dial} median
path efficiency    {path} median
throughput         {throughput_bit_s:.3f} bit/s
"""


def closed_loop(
    checkpoint: CheckpointFile,
    file: Annotated[
        Path, typer.Argument(metavar="SESSION", help="Synthetic session that it was trained on.")
    ],
    task: Annotated[
        Literal["random", "centre-out"],
        typer.Option(help="Targets of the grid, or from the centre and back."),
    ] = "random",
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Targets.")] = 200,
    feedback: Annotated[
        Literal["moving", "silent", "seen"],
        typer.Option(help="What S1 hears of: an arm that moves, nothing, the cursor seen."),
    ] = "moving",
    added_delay_ms: Annotated[
        int, typer.Option(min=0, max=60_000, help="Of the decoder's output, in steps of 4 ms.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of targets and noise.")] = 0,
    figure: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draws paths and velocities.")
    ] = None,
    as_json: Json = False,
    trust: Trust = None,
    config: Configs = None,
) -> None:
    """Let a simulated user control a cursor through a decoder.

    The units of the synthetic session fire with the velocity that the user wants; the user sees
    the cursor that the decoder moves. docs/closed-loop.md describes user, brain and task.

    \b
    Example: spikereach closed-loop checkpoint.safetensors synthetic_loco_1.h5 --figure loop.png
    """
    from spikereach.closed_loop.conditions import STEP_MS
    from spikereach.closed_loop.control import in_loop
    from spikereach.closed_loop.errors import LoopError
    from spikereach.closed_loop.measures import control
    from spikereach.closed_loop.task import Rules
    from spikereach.files import replace
    from spikereach.kinds import Kind, check_overwriting

    if added_delay_ms % STEP_MS:
        raise LoopError(f"--added-delay-ms {added_delay_ms}: give a multiple of 4 ms, one bin")
    if figure is not None:
        if figure.suffix != ".png":
            raise LoopError(f"{figure}: the figure is written as .png: give such a name")
        check_overwriting(figure, Kind.FIGURE, [checkpoint, file, *(config or [])])
    loaded, binned = checkpoint_and_session(checkpoint, trust, file, None, None, config)
    decoder = in_loop(loaded, binned, config_of(config).synthetic.seed)
    rules, delay = Rules(kind=task, trials=trials), added_delay_ms // STEP_MS
    played = decoder.play(feedback=feedback, rules=rules, added_delay=delay, seed=seed)
    found = control(played.trials, rules, feedback=feedback, added_delay=delay)
    if figure is not None:
        from spikereach.reporting.plots.loop import loop

        replace(figure, loop(played, loaded.system_name, rules.width_mm))
    lookahead_ms = decoder.lookahead * STEP_MS
    about = {"system": loaded.system_name, "session": binned.name, "seed": loaded.seed}
    about |= {"gain": decoder.gain, "lookahead_ms": lookahead_ms}
    show(
        about | found.model_dump(),
        as_json,
        _CONTROL,
        delay_ms=lookahead_ms + added_delay_ms,
        time=_or_none("{:.2f} s", found.time_to_target_s),
        dial=_or_none("{:.2f} s", found.dial_in_s),
        path=_or_none("{:.0%}", found.path_efficiency),
    )


def _or_none(template: str, value: float | None) -> str:
    return "none" if value is None else template.format(value)
