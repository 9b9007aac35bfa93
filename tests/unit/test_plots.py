"""Figures: files, embedded fonts, bytes, and the CSV against what is drawn."""

import csv
import shutil
import subprocess
import sys
from itertools import pairwise

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

import handmade_results as handmade
from spikereach.config import System, Trajectory
from spikereach.evaluation import energy
from spikereach.models.buffers import layer_buffers
from spikereach.published import figures as published
from spikereach.reporting.collect import ResultError, collect
from spikereach.reporting.make import write
from spikereach.reporting.plots import colours
from spikereach.reporting.plots.ablations import cortex
from spikereach.reporting.plots.computed import buffers, latency
from spikereach.reporting.plots.pareto import pareto
from spikereach.reporting.plots.r2_by_session import r2_by_session
from spikereach.reporting.plots.trajectory import trajectory

STEPS, DT = 500, 0.004


def systems(names=handmade.SYSTEMS):
    return {
        name: System(
            architecture="any:Any", sizes={}, areas=("M1",), spiking=True, training=None,
            base="RTnet", published=name if name in published.systems() else None,
        )
        for name in names
    }  # fmt: skip


@pytest.fixture
def frame(tmp_path):
    return collect(handmade.write(tmp_path, sessions=tuple(published.sessions().values())))


@pytest.fixture
def synthetic_frame(tmp_path):
    sessions = ("synthetic_indy_1", "synthetic_loco_1")
    return collect(handmade.write(tmp_path, sessions=sessions, source="synthetic"))


def recording(steps=STEPS):
    rng = np.random.default_rng(0)
    position = np.cumsum(rng.normal(size=(steps, 2)), axis=0).astype("float32")
    velocity = np.gradient(position, axis=0).astype("float32")
    return position, velocity, (rng.random((steps, 13)) < 0.1).astype("uint8")


def predictions(folder, name, *, steps=STEPS, session="synthetic_indy_1"):
    """A file as the evaluation writes it."""
    from spikereach.evaluation.evaluate import Measurement, write_predictions
    from spikereach.evaluation.records import Measured

    position, velocity, spikes = recording()
    noise = np.random.default_rng(len(name)).normal(size=(STEPS, 2)).astype("float32")
    path = folder / name / "predictions.h5"
    result = Measurement(
        metrics=Measured.model_construct(system=name, session=session, seed=0, r2=0.5),
        first_step=1500,
        start_s=70.0,
        predicted=(velocity + noise)[:steps],
        velocity=velocity[:steps],
        position=position[:steps],
        spikes=spikes[:steps],
    )
    write_predictions(result, path)
    return path, result.predicted


def all_plots(frame, folder):
    files = {name: predictions(folder, name)[0] for name in ("tinyRSNN", "sRTnet")}
    return {
        "trajectory": draw_trajectory(files, "synthetic", 0.2, 1),
        "r2_by_session": r2_by_session(frame, systems()),
        "pareto": pareto(frame, systems()),
        "buffers": buffers({"RTnet": RTNET}),
        "latency": latency(),
        "cortex": cortex(frame, {"M1": "SNN2", "S1": "ANN2"}),
    }


RTNET = System(
    architecture="any:Any",
    sizes={"kernel": 9, "blocks": 2},
    areas=("M1",),
    spiking=True,
    base="RTnet",
)


def draw_trajectory(files, source, start_s, duration_s):
    stretch = Trajectory(systems=tuple(files), start_s=start_s, duration_s=duration_s)
    return trajectory(list(files.values()), stretch, source)


def drawn(axes):
    """Label-free (x, y) of every line of more than two points."""
    return [line.get_xydata() for line in axes.get_lines() if len(line.get_xdata()) > 2]


def test_files_fonts_and_resolution(frame, tmp_path):
    for name, plot in all_plots(frame, tmp_path / "predictions").items():
        write(plot.files(), tmp_path / "a" / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 18
    for name in names:
        content = (tmp_path / "a" / name).read_bytes()
        if name.endswith(".pdf"):
            assert b"/FontFile2" in content  # TrueType, embedded
            assert b"/Type3" not in content
            assert b"/CreationDate" not in content
            assert b"/Subtype /Image" not in content  # vector throughout
        if name.endswith(".png"):
            width = int.from_bytes(content[16:20], "big")
            assert width in (1050, 2160)  # 3.5 in and 7.2 in at 300 dpi
        if name.endswith(".csv"):
            assert len(list(csv.DictReader(content.decode().splitlines()))) > 1


def test_bytes_are_repeatable(synthetic_frame, tmp_path):
    for folder in ("a", "b"):
        shuffled = synthetic_frame.sample(frac=1, random_state=ord(folder))
        write(r2_by_session(shuffled, systems()).files(), tmp_path / folder / "r2")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_fonts_are_embedded_says_poppler(tmp_path):
    if shutil.which("pdffonts") is None:
        pytest.skip("pdffonts is absent; install poppler-utils to check the fonts")
    write(latency().files(), tmp_path / "latency")
    listing = subprocess.run(
        ["pdffonts", tmp_path / "latency.pdf"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[2:]
    assert listing
    assert all(line.split()[-5] == "yes" for line in listing)


def test_texts_stay_inside_and_ticks_do_not_touch(frame, synthetic_frame, tmp_path):
    more = {"synthetic": r2_by_session(synthetic_frame, systems())}
    for name, plot in (all_plots(frame, tmp_path) | more).items():
        plot.figure.draw_without_rendering()
        outline = plot.figure.bbox
        for axes in plot.figure.axes:
            if not axes.axison:
                continue
            box = axes.get_tightbbox()
            assert box.x0 >= outline.x0 - 1, name
            assert box.x1 <= outline.x1 + 1, name
            assert box.y0 >= outline.y0 - 1, name
            ticks = [t.get_window_extent() for t in axes.get_xticklabels() if t.get_text()]
            ticks = sorted((t for t in ticks if t.width), key=lambda t: t.x0)
            assert all(a.x1 < b.x0 for a, b in pairwise(ticks)), name
        for legend in plot.figure.legends:
            box = legend.get_window_extent()
            assert box.x0 >= 0, name
            assert box.x1 <= outline.x1, name


# ---- Trajectory ------------------------------------------------------------------------


def test_trajectory_data_equal_the_predictions_and_the_lines(tmp_path):
    path, predicted = predictions(tmp_path, "sRTnet")
    position, velocity, spikes = recording()
    plot = draw_trajectory({"sRTnet": path}, "zenodo", 0.4, 0.8)
    begin, count = 100, 200
    panels = plot.data.groupby(["panel", "series"])
    part = {key: value[["x", "y"]].to_numpy() for key, value in panels}
    assert part["velocity_x", "true"][:, 1] == pytest.approx(
        velocity[begin : begin + count, 0] / DT, rel=1e-6
    )
    assert part["velocity_y", "sRTnet"][:, 1] == pytest.approx(
        predicted[begin : begin + count, 1] / DT, rel=1e-6
    )
    assert part["velocity_y", "sRTnet"][0, 0] == pytest.approx(0.4)
    assert part["path", "true"] == pytest.approx(position[begin : begin + count])
    end = position[begin] + predicted[begin + 1 : begin + count].sum(axis=0)
    assert part["path", "sRTnet"][0] == pytest.approx(position[begin])
    assert part["path", "sRTnet"][-1] == pytest.approx(end, rel=1e-4)
    assert len(part["raster", "spikes"]) == spikes[begin : begin + count].sum()

    raster, vx, _, path_axes, _ = plot.figure.axes
    assert np.array_equal(drawn(raster)[0], part["raster", "spikes"])
    assert np.allclose(drawn(vx)[0], part["velocity_x", "true"])
    assert np.allclose(drawn(path_axes)[1], part["path", "sRTnet"])
    assert "synthetic data" not in raster.get_title(loc="left")
    assert "summed up, without correction" in path_axes.get_title(loc="left")
    assert "mm/s" in vx.get_ylabel()


def test_trajectory_says_synthetic_and_does_not_invent_units(tmp_path):
    path, _ = predictions(tmp_path, "sRTnet")
    raster = draw_trajectory({"sRTnet": path}, "synthetic", 0, 1).figure.axes[0]
    assert "synthetic data" in raster.get_title(loc="left")
    local = draw_trajectory({"sRTnet": path}, "local", 0, 1)
    assert "file units" in local.figure.axes[1].get_ylabel()


def test_trajectory_refuses_what_does_not_fit(tmp_path):
    path, _ = predictions(tmp_path / "a", "sRTnet")
    short, _ = predictions(tmp_path / "b", "GRU-t2", steps=200)
    other, _ = predictions(tmp_path / "c", "SNN2", session="synthetic_loco_1")
    with pytest.raises(ResultError, match=r"0\.8 s decoded by all systems"):
        draw_trajectory({"sRTnet": path, "GRU-t2": short}, "local", 0.5, 0.5)
    with pytest.raises(ResultError, match="one session"):
        draw_trajectory({"a": path, "b": other}, "local", 0, 0.5)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ResultError, match=rf"{path}: cannot be read"):
        draw_trajectory({"a": path}, "local", 0, 0.5)
    with pytest.raises(ResultError, match=r"none\.h5"):
        draw_trajectory({"a": tmp_path / "none.h5"}, "local", 0, 0.5)


# ---- R2, ablation, Pareto --------------------------------------------------------------


def test_r2_by_session_draws_its_data(frame):
    plot = r2_by_session(frame, systems())
    ours = plot.data[plot.data["origin"] == "ours"]
    session = published.sessions()["L3"]
    for seed in range(3):
        row = ours.query("session == @session and system == 'sRTnet' and seed == @seed")
        assert row["r2"].item() == handmade.metrics("sRTnet", session, seed)["r2"]
    (axes,) = plot.figure.axes
    bars = [c for c in axes.collections if isinstance(c, LineCollection)]
    dots = np.concatenate([c.get_offsets()[:, 1] for c in axes.collections if c not in bars])
    assert sorted(dots) == pytest.approx(sorted(plot.data["r2"]))
    assert sorted(bar.get_segments()[0][0][1] for bar in bars) == pytest.approx(
        sorted(ours.groupby(["session", "system"])["r2"].mean())
    )


def test_one_session_has_no_mean_beside_it(tmp_path):
    frame = collect(handmade.write(tmp_path, sessions=handmade.SESSIONS[:1], seeds=(0,)))
    data = r2_by_session(frame, systems()).data
    assert set(data["session"]) == {handmade.SESSIONS[0]}


def test_published_marks_only_beside_the_real_recordings(frame, synthetic_frame):
    real = r2_by_session(frame, systems()).data.query("origin == 'published'")
    value = real.query("system == 'tinyRSNN' and session == @published.sessions()['I1']")["r2"]
    seeds = published.load()["per_session"]["tinyRSNN"]["indy_20160622_01"]["r2"]
    assert value.item() == pytest.approx(sum(seeds) / 5)
    assert real.query("system == 'sRTnet'")[["session", "r2"]].to_numpy().tolist() == [
        ["mean", 0.675]
    ]
    assert "Wiener" not in set(real["system"])

    for plot in (
        r2_by_session(synthetic_frame, systems()),
        pareto(synthetic_frame, systems()),
    ):
        assert set(plot.data["origin"]) == {"ours"}
        titles = [axes.get_title(loc="right") for axes in plot.figure.axes]
        assert "synthetic data" in titles
        (legend,) = plot.figure.legends
        assert "published" not in [text.get_text() for text in legend.get_texts()]
    ablation = cortex(synthetic_frame, {"M1": "SNN2"})
    assert ablation.data["r2_published"].isna().all()


def test_published_mean_is_that_of_the_published_sessions(tmp_path):
    names = ["AEGRU", "GRU-t2"]
    sessions = tuple(published.sessions().values())
    frame = collect(handmade.write(tmp_path, systems=names, sessions=sessions))
    data = r2_by_session(frame, systems(names)).data.query("origin == 'published'")
    for name, mean in {"AEGRU": 0.698, "GRU-t2": 0.621}.items():  # not AEGRU's printed 0.71
        marks = data[data["system"] == name].set_index("session")["r2"]
        assert set(marks.index) == {*sessions, "mean"}
        assert marks["mean"] == pytest.approx(marks.drop("mean").mean())
        assert round(marks["mean"], 3) == mean


def test_cortex_ablation_bars(frame):
    loco = frame[frame["monkey"] == "loco"]
    plot = cortex(loco, {"M1": "SNN2", "M1+S1": "ANN2"})
    session = published.sessions()["L2"]
    row = plot.data.query("session == @session and input == 'M1+S1'").iloc[0]
    values = [handmade.metrics("ANN2", session, seed)["r2"] for seed in range(3)]
    assert (row["r2"], row["r2_std"]) == pytest.approx((np.mean(values), np.std(values)))
    assert (row["r2_published"], row["r2_std_published"]) == (0.522, 0.042)
    heights = [patch.get_height() for patch in plot.figure.axes[0].patches]
    assert sorted(heights) == pytest.approx(sorted(plot.data["r2"]))


def test_pareto_energy_in_closed_form(frame):
    # 1,000 MACs at 4.6 pJ and 100 ACs at 0.9 pJ
    assert energy.energy_nj(1000, 100, "float32", "float32") == pytest.approx(4.69)
    data = pareto(frame, systems()).data.set_index(["system", "origin"])
    theirs = data.loc["sRTnet", "published"]
    # 9-bit weights with float32 buffers are computed in float32
    assert theirs["energy_nj"] == pytest.approx((12274 * 4.6 + 326 * 0.9) / 1000)
    assert (theirs["footprint_kb"], theirs["r2"]) == (105.269, 0.675)
    part = frame[frame["system"] == "sRTnet"]
    ours = data.loc["sRTnet", "ours"]
    assert ours["footprint_kb"] == pytest.approx(part["deployment_bytes"].mean() / 1e3)
    assert ours["neurobench_footprint_kb"] == pytest.approx(part["footprint"].mean() / 1e3)
    fixed = frame.assign(weight_format=[(1, 7)] * len(frame), buffer_format=[(1, 4)] * len(frame))
    data = pareto(fixed, systems()).data.set_index(["system", "origin"])
    multiply = 3.1 / 32**2 * 9 * 6
    assert data.loc["sRTnet", "published"]["energy_nj"] == pytest.approx(
        (12274 * (multiply + 0.1) + 326 * 0.1) / 1000
    )


def test_crowded_sessions_go_on_in_a_second_row(frame):
    many = pd.concat([frame.assign(system=frame["system"] + str(n)) for n in range(4)])
    names = {f"{name}{n}": each for n in range(4) for name, each in systems().items()}
    plot = r2_by_session(many, names)
    shown = [[t.get_text() for t in axes.get_xticklabels()] for axes in plot.figure.axes]
    assert [len(row) for row in shown] == [4, 3]
    assert shown[1][-1] == "mean"


def test_legend_reads_in_rows(frame):
    inputs = dict(zip(("M1", "S1", "M1+S1", "pre-LIF", "post-LIF"), systems(), strict=True))
    plot = cortex(frame[frame["monkey"] == "loco"], inputs)
    plot.figure.draw_without_rendering()
    (legend,) = plot.figure.legends
    places = {text.get_text(): text.get_window_extent() for text in legend.get_texts()}
    assert len({round(box.y0) for box in places.values()}) > 1
    read = sorted(places, key=lambda label: (-round(places[label].y0, -1), places[label].x0))
    assert read == [*inputs, "published"]


def test_missing_system_is_named(frame):
    for draw in (r2_by_session, pareto):
        with pytest.raises(ResultError, match="'RTnet'"):
            draw(frame, systems(["RTnet"]))


# ---- Computed figures ------------------------------------------------------------------


def test_latency_passes_through_the_published_points():
    data = latency().data.set_index(["blocks", "kernel"])
    for name, key in {"RTnet": (2, 9), "BMnet": (3, 31)}.items():
        assert data.loc[key, "latency_ms"] == published.load()["latency_ms"][name]
        assert data.loc[key, "receptive_field"] == published.load()["receptive_field_steps"][name]


def test_buffers_draw_the_table():
    table = pd.DataFrame([vars(layer) for layer in layer_buffers([9, 18])])
    plot = buffers({"RTnet": RTNET})
    widths = sorted(patch.get_width() for patch in plot.figure.axes[0].patches)
    assert widths == sorted(table[["receptive_field", "new", "needed"]].to_numpy().ravel())
    assert plot.data.iloc[0]["receptive_field"] == 46


# ---- Colours ---------------------------------------------------------------------------


def test_every_published_system_has_its_own_look():
    names = [*published.systems(), "Wiener", "Kalman"]
    assert len({colours.colour(name) for name in names}) == len(names)
    assert colours.TRUE not in {colours.colour(name) for name in names}
    # the rows of the co-optimisation table stay apart in lightness and hue
    rgb = [matplotlib.colors.to_rgb(colours.colour(row["system"]))
           for row in published.load()["table_coopt_track"]]  # fmt: skip
    distances = [np.linalg.norm(np.subtract(a, b)) for a in rgb for b in rgb if a != b]
    assert min(distances) > 0.2


def test_trials_of_a_search_look_different():
    names = [f"small-trial{number}" for number in range(64)]
    assert len({(colours.colour(name), colours.marker(name)) for name in names}) == 64


def test_an_unknown_system_has_a_stable_look():
    code = (
        "from spikereach.reporting.plots.colours import *; print(colour('mynet'), marker('mynet'))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.split() == [colours.colour("mynet"), colours.marker("mynet")]


def test_no_torch_and_no_pyplot():
    code = (
        "import sys\n"
        "from pkgutil import resolve_name\n"
        "from spikereach.reporting.registry import REGISTRY\n"
        "for kind in REGISTRY.values():\n"
        "    for entry in kind.values(): resolve_name(entry.target)\n"
        "assert not {'torch', 'matplotlib.pyplot', 'seaborn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
