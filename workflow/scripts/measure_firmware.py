"""Run an exported decoder on emulated microcontrollers, and count."""

from spikereach.workflow.job import job

with job(snakemake):
    import json
    import tempfile
    from pathlib import Path

    from spikereach.export.firmware.machines import MACHINES
    from spikereach.export.firmware.measure import golden, measure
    from spikereach.export.firmware.record import Firmware
    from spikereach.provenance import provenance

    program = Path(snakemake.input[0]).parent
    spikes, velocities = golden(program)
    with tempfile.TemporaryDirectory() as folder:
        measured = {
            name: measure(program, spikes, velocities, machine, Path(folder) / name)
            for name, machine in MACHINES.items()
        }
    Firmware(
        system=snakemake.wildcards.system,
        session=snakemake.wildcards.session,
        seed=snakemake.wildcards.seed,
        bins=len(spikes),
        machines=measured,
        provenance=provenance(export=json.loads((program / "manifest.json").read_bytes())),
    ).write(snakemake.output.record)
