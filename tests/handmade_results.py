"""Hand-made result files for the tests of tables and plots."""

import json
import random
from pathlib import Path

SESSIONS = ("indy_20160622_01", "indy_20170131_02", "loco_20170301_05")
SYSTEMS = ("Wiener", "SNN2", "tinyRSNN", "ANN2", "sRTnet")


def metrics(system, session, seed, *, source="zenodo"):
    """The content of one metrics.json; numbers are arbitrary, distinct and reproducible."""
    draw = random.Random(f"{system}/{session}/{seed}")
    x, y = draw.uniform(0.5, 0.7), draw.uniform(0.5, 0.7)
    weights, buffers, states = draw.randrange(10**5), draw.randrange(10**4), draw.randrange(10**3)
    return {
        "system": system,
        "session": session,
        "seed": seed,
        "monkey": session.rsplit("_", 1 if session.startswith("synthetic") else 2)[0],
        "source": source,
        "test_steps": 1000,
        "r2": (x + y) / 2,
        "r2_x": x,
        "r2_y": y,
        "verified_steps": 1000,
        "parameters": 5000 + len(session),
        "footprint": 21000 if session.startswith("indy") else 33288,
        "connection_sparsity": draw.uniform(0, 0.5),
        "activation_sparsity": draw.uniform(0.9, 1),
        "dense": 10368.0,
        "macs": 0.0 if system == "SNN2" else draw.uniform(600, 13000),
        "acs": draw.uniform(200, 500),
        "weights_bytes": weights,
        "buffers_bytes": buffers,
        "states_bytes": states,
        "deployment_bytes": weights + buffers + states,
        "weight_format": [1, 7] if system == "sRTnet" else "float32",
        "buffer_format": "float32",
        "parts": [{"layer": "all", "kind": "weights", "values": 1, "bytes": weights}],
        "provenance": {"commit": "0123456789abcdef", "dirty": False},
    }


def realtime(system, session, seed):
    """The content of one realtime.json."""
    slow = system == "ANN2"
    return {
        "system": system,
        "session": session,
        "seed": seed,
        "lookahead_declared": 20,
        "lookahead_measured": 19,
        "stream_max_error": 1e-7,
        "stream_diverged": 0.0,
        "latency_ms": 200.0 if slow else 4.0,
        "execution_rate_hz": 62.5,
        "realtime": not slow,
        "stream_buffer_bytes": 1234,
        "median_us": random.random(),
        "p99_us": random.random(),
    }


def write(folder: Path, *, systems=SYSTEMS, sessions=SESSIONS, seeds=(0, 1, 2), source="zenodo"):
    """A results/evaluate tree; returns the paths of all its files."""
    paths = []
    for system in systems:
        for session in sessions:
            for seed in seeds:
                place = folder / "results" / "evaluate" / system / session / f"seed{seed}"
                place.mkdir(parents=True)
                for name, content in (
                    ("metrics.json", metrics(system, session, seed, source=source)),
                    ("realtime.json", realtime(system, session, seed)),
                ):
                    (place / name).write_text(json.dumps(content))
                    paths.append(place / name)
    return paths
