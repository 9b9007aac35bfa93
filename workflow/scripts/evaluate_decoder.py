"""Measure a decoder on the test part of a session, and check it bin by bin."""

from spikereach.job import job

with job(snakemake):
    from spikereach.config import Evaluation
    from spikereach.data.binning import BinnedSession
    from spikereach.evaluation import evaluate
    from spikereach.training import checkpoint
