"""A file of each kind."""

import json
import os
import shutil

import h5py
import numpy as np
import safetensors.torch
import torch
from matplotlib.figure import Figure

import handmade_results
import nwb_files
from session_files import random_session
from spikereach.config.sessions import Session
from spikereach.data.binning import bin_session
from spikereach.kinds import Kind
from spikereach.models import checkpoint, tensorfile
from training_cases import checkpoint as tiny


def make(folder):
    """Kind -> file, made by our own writers or by packages other than ours."""
    made = {kind: folder / f"file{number}" for number, kind in enumerate(Kind)}
    made[Kind.SESSION] = folder / "recording.mat"
    random_session(made[Kind.SESSION], channels=3, steps=2000)
    nwb_files.save(nwb_files.recording(), made[Kind.NWB])
    bin_session(made[Kind.SESSION], Session("s", "m", {"M1": 3})).save(made[Kind.BINNED])
    checkpoint.save(tiny(), made[Kind.CHECKPOINT])
    tensorfile.write(made[Kind.RESUME], "resume file", {"sums": torch.zeros(3)}, {})
    with h5py.File(made[Kind.PREDICTIONS], "w") as file:
        for name in ("predicted", "velocity", "position", "spikes"):
            file[name] = np.zeros((3, 2))
        file.attrs["first_step"] = 0
    made[Kind.VELOCITIES].write_text("step,time_s,velocity_x,velocity_y\n0,0.000,1,2\n")
    about = ("RTnet", "indy_20160622_01", 0)
    made[Kind.METRICS].write_text(json.dumps(handmade_results.metrics(*about)))
    made[Kind.REALTIME].write_text(json.dumps(handmade_results.realtime(*about)))
    made[Kind.RESULTS].mkdir()
    shutil.copy(made[Kind.METRICS], made[Kind.RESULTS] / "metrics.json")
    made[Kind.RESULTS_PAGE].write_text(
        '<!DOCTYPE html>\n<meta name="generator" content="spikereach">\n'
    )
    Figure((1, 1)).savefig(made[Kind.FIGURE], format="png", metadata={"Software": "spikereach"})
    made[Kind.OLD_MATLAB].write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128) + b"\0")
    torch.save({"weight": torch.zeros(3)}, made[Kind.PYTORCH])
    safetensors.torch.save_file({"weight": torch.zeros(3)}, made[Kind.SAFETENSORS])
    with h5py.File(made[Kind.HDF5], "w") as file:
        file["other"] = 1
    made[Kind.WEB_PAGE].write_text("\ufeff \n<html><title>Just a moment</title>")
    made[Kind.TEXT].write_text("tables: {coopt: [RTnet]}\n")
    made[Kind.EMPTY].touch()
    made[Kind.FOLDER].mkdir()
    os.mkfifo(made[Kind.SPECIAL])
    made[Kind.UNKNOWN].write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    return made
