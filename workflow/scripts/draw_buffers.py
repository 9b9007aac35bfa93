"""Frames per layer of convolutional decoders for one keypoint."""

from spikereach.workflow.job import job

with job(snakemake):
    import json
    from pathlib import Path

    import pandas as pd

    from spikereach.models.buffers import layer_buffers
    from spikereach.reporting import drawing, figures

    layers = {
        name: pd.DataFrame(
            layer_buffers(
                [entry["sizes"]["kernel"] * 2**i for i in range(entry["sizes"]["blocks"])]
            )
        )
        for name, entry in json.loads(snakemake.params.systems)
    }
    drawing.write(figures.buffers(layers), Path(snakemake.output.pdf).parent)
