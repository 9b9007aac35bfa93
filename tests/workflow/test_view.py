"""The page to explore decoders, in a browser."""

import base64
import io
import json
import re

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import handmade_results as handmade
from browser import FRAME, needs_chromium
from spikereach.cli import app
from spikereach.closed_loop import result as result_in_loop
from spikereach.closed_loop.task import Trial
from spikereach.kinds import Kind, kind_of
from spikereach.reporting.plots.colours import colour
from spikereach.reporting.view.loop import Looped
from spikereach.reporting.view.packing import packed_spikes

SESSION = "synthetic_loco_1"
DT = 0.004
STEPS = 5000
HOSTILE = "</script><script>hacked = 1</script><img src=x onerror='hacked=1'>\"&{{data}}"


def movement():
    """A slow, smooth true movement, (position, velocity per step)."""
    time = np.arange(STEPS) * DT
    position = np.stack([40 * np.sin(0.9 * time), 30 * np.cos(0.7 * time)], axis=1)
    position = position.astype("float32")
    return position, np.gradient(position, axis=0)


def step_at(seconds):
    """A velocity that is zero and jumps to 160 mm/s along x."""
    decoded = np.zeros((STEPS, 2), "float32")
    decoded[round(seconds / DT) :, 0] = 160 * DT
    return decoded


def spikes(channels):
    return (np.random.default_rng(0).random((STEPS, channels)) < 0.05).astype("uint8")


def result(folder, system, decoded, *, seed=0, session=SESSION, source="synthetic", **changed):
    """A result folder as the evaluation leaves it."""
    folder = folder / f"{len(list(folder.iterdir()))}"
    folder.mkdir()
    channels, shift = changed.pop("channels", 13), changed.pop("shift", 0.0)
    metrics = handmade.metrics(system, session, seed, source=source)
    realtime = handmade.realtime(system, session, seed) | changed
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "realtime.json").write_text(json.dumps(realtime))
    position, velocity = movement()
    with h5py.File(folder / "predictions.h5", "w") as file:
        file["predicted"], file["velocity"] = decoded, velocity
        file["position"] = position + np.float32(shift)
        file["spikes"] = np.packbits(spikes(channels), axis=1)
        file.attrs.update(system=system, session=session, seed=seed, r2=0.5, channels=channels)
        file.attrs.update(first_step=1500, dt_s=DT)
    return folder


def view(folder, results, *options):
    out = folder / "page.html"
    done = CliRunner().invoke(app, ["view", *map(str, results), "--out", str(out), *options])
    return out, done


def fails(folder, results, *options):
    out, done = view(folder, results, *options)
    assert done.exit_code == 1, done.output
    assert not out.exists()
    [line] = done.stderr.splitlines()
    return line


# ---- What is in the file -------------------------------------------------------------------


def embedded(path):
    [text] = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text()
    )
    return json.loads(text)


def unpacked(array):
    values = np.frombuffer(base64.b64decode(array["data"]), "<i2").reshape(-1, 2)
    return values * array["scale"], array["scale"]


def unpacked_spikes(packed, steps):
    found, at = np.zeros(steps * packed["channels"], "uint8"), -1
    for way in base64.b64decode(packed["spikes"]):
        at += way
        if way < 255:
            found[at] = 1
    return found.reshape(steps, packed["channels"])


@settings(max_examples=50)
@given(st.sets(st.integers(0, 1199)), st.sampled_from([1, 10, 300]))
def test_spikes_are_packed_without_loss(places, channels):
    fired = np.zeros((1200 // channels, channels), "uint8")
    fired.flat[list(places)] = 1
    np.testing.assert_array_equal(unpacked_spikes(packed_spikes(fired), len(fired)), fired)


def test_page_holds_the_results_of_its_stretch(tmp_path):
    noise = np.random.default_rng(1).normal(size=(STEPS, 2)).astype("float32")
    few = result(tmp_path, "RTnet", noise, channels=5)
    many = result(tmp_path, "SNN2", -noise, channels=13)
    path, done = view(tmp_path, [few, many], "--start", "4", "--seconds", "2")
    assert "RTnet; SNN2" in done.stdout
    assert "2 s" in done.stdout
    assert kind_of(path) is Kind.RESULTS_PAGE
    data, here = embedded(path), slice(1000, 1500)
    position, velocity = movement()
    for array, expected in (
        (data["position"], position),
        (data["velocity"], velocity / DT),
        (data["systems"][0]["velocity"], noise / DT),
        (data["systems"][1]["velocity"], -noise / DT),
    ):
        values, scale = unpacked(array)
        np.testing.assert_allclose(values, expected[here], atol=0.51 * scale)
        assert scale < np.abs(expected).max() / 30000
    found = unpacked_spikes(data, 500)
    np.testing.assert_array_equal(found, spikes(13)[here], "the most channels that a system reads")
    assert (data["start"], data["steps"], data["unit"]) == (4.0, 500, "mm")
    for shown, folder in zip(data["systems"], (few, many), strict=True):
        metrics = json.loads((folder / "metrics.json").read_text())
        realtime = json.loads((folder / "realtime.json").read_text())
        assert shown["system"] == metrics["system"]
        assert shown["r2"] == metrics["r2"]
        assert shown["footprint"] == metrics["footprint"]
        assert shown["deployment_bytes"] == metrics["deployment_bytes"]
        assert shown["latency_ms"] == realtime["latency_ms"]
        assert shown["realtime"] is realtime["realtime"]


WAITS = (500, 250)
"""Steps of the two trials of a decoder that is shown in the loop."""


def looped(folder, **options):
    """The cursor of RTnet goes to the right at 60 mm/s and its user wants to go up at 120 mm/s; all
    others stand still, take half as long for the first target, and give up."""
    about = json.loads((folder / "metrics.json").read_text())
    fast = about["system"] == "RTnet"
    first = WAITS[0] if fast else WAITS[0] // 2
    trials = [
        Trial((60.0, 0.0), 0, first, fast, None, None, 60.0, 60.0, 60.0),
        Trial((-30.0, 15.0), first, WAITS[1], False, None, None, 90.0, 60.0, 60.0),
    ]
    steps = first + WAITS[1]
    return Looped(
        gain=1.25,
        lookahead_ms=104.0,
        width_mm=15.0,
        edge_mm=75.0,
        trials=trials,
        throughput_bit_s=[0.5, 0.25],
        wanted=np.full((steps, 2), (0.0, 120.0)),
        decoded=np.full((steps, 2), (60.0 * fast, 0.0)),
        spikes=spikes(9)[:steps],
    )


def test_page_holds_the_loop(tmp_path, monkeypatch, repository):
    asked = []
    monkeypatch.setattr(
        result_in_loop, "play", lambda folder, **options: asked.append(options) or looped(folder)
    )
    folders = [result(tmp_path, name, step_at(1)) for name in ("RTnet", "SNN2")]
    seed = tmp_path / "seed.yaml"
    seed.write_text("synthetic: {seed: 3}")
    configs = (f"--config={path}" for path in (repository / "config.yaml", seed))
    path, done = view(tmp_path, folders, "--loop=2", *configs)
    assert done.exit_code == 0, done.output
    assert asked == 2 * [{"targets": 2, "synthetic_seed": 3, "trust": ()}]
    data = embedded(path)["loop"]
    assert data["targets"] == [[60, 0], [-30, 15]]
    assert (data["width"], data["edge"]) == (15, 75)
    for folder, found in zip(folders, data["decoders"], strict=True):
        expected = looped(folder)
        for name in ("wanted", "decoded"):
            values, scale = unpacked(found[name])
            np.testing.assert_allclose(values, getattr(expected, name), atol=0.51 * scale)
        shown = unpacked_spikes(found, len(expected.spikes))
        np.testing.assert_array_equal(shown, expected.spikes)
        assert found["starts"] == [0, found["lengths"][0]]
        assert found["throughput"] == [0.5, 0.25]
    assert [one["lengths"] for one in data["decoders"]] == [[500, 250], [250, 250]]
    assert [one["success"] for one in data["decoders"]] == [[True, False], [False, False]]


def test_a_result_without_its_run_is_not_played(tmp_path):
    one = result(tmp_path, "RTnet", step_at(1))
    assert "no manifest tells what it was made from" in fails(tmp_path, [one], "--loop", "2")
    assert "given twice" in fails(tmp_path, [one, one], "--loop", "2")


def test_a_page_of_too_many_targets_is_refused(tmp_path):
    out, done = view(tmp_path, [result(tmp_path, "RTnet", step_at(1))], f"--loop={10**20}")
    assert done.exit_code == 2
    assert not out.exists()


def test_a_silent_decoder_can_be_shown(tmp_path):
    path, done = view(tmp_path, [result(tmp_path, "RTnet", np.zeros((STEPS, 2), "float32"))])
    assert done.exit_code == 0, done.output
    assert not unpacked(embedded(path)["systems"][0]["velocity"])[0].any()


def test_stretch_ends_with_the_shortest_test_part(tmp_path):
    path, _ = view(tmp_path, [result(tmp_path, "RTnet", step_at(1))], "--seconds", "1000")
    assert embedded(path)["steps"] == STEPS


def test_what_does_not_belong_together_is_refused(tmp_path):
    decoded = step_at(1)
    one = result(tmp_path, "RTnet", decoded)
    other = result(tmp_path, "SNN2", decoded, session="synthetic_loco_2")
    assert "give results of one session" in fails(tmp_path, [one, other])
    moved = result(tmp_path, "SNN2", decoded, shift=1.0)
    assert "different recordings" in fails(tmp_path, [one, moved])
    again = tmp_path / "link"
    again.symlink_to(one)
    assert f"one result is given twice: {one}, {again}" in fails(tmp_path, [one, again])
    assert "choose another stretch" in fails(tmp_path, [one], "--start", "20")
    assert "choose another stretch" in fails(tmp_path, [one], "--seconds", "0")
    mixed = result(tmp_path, "SNN2", decoded)
    (mixed / "predictions.h5").write_bytes((one / "predictions.h5").read_bytes())
    assert "predictions.h5 is of system RTnet" in fails(tmp_path, [mixed])
    (mixed / "predictions.h5").unlink()
    assert str(mixed / "predictions.h5") in fails(tmp_path, [mixed])
    (mixed / "metrics.json").unlink()
    assert str(mixed / "metrics.json") in fails(tmp_path, [mixed])


def labels(folder, *places):
    """On the page of results of RTnet at these places, each of which names its seed."""
    results = []
    for place in places:
        results.append(folder / place)
        results[-1].parent.mkdir(parents=True, exist_ok=True)
        seed = int(place[-1])
        result(folder, "RTnet", step_at(1), seed=seed).rename(results[-1])
    path, done = view(folder, results)
    assert done.exit_code == 0, done.output
    return [system["label"] for system in embedded(path)["systems"]]


RESULT = "results/evaluate/RTnet/synthetic_loco_1/seed"


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([f"a/{RESULT}0"], ["RTnet"]),
        ([f"a/{RESULT}0", f"a/{RESULT}3"], ["RTnet, seed 0", "RTnet, seed 3"]),
        ([f"runs/a/{RESULT}0", f"runs/b/{RESULT}0"], ["RTnet, a", "RTnet, b"]),
        ([f"a/run/{RESULT}0", f"b/run/{RESULT}0"], ["RTnet, a", "RTnet, b"]),
        ([f"runs/{RESULT}0", f"runs/b/{RESULT}0"], ["RTnet, runs", "RTnet, runs/b"]),
        (
            [f"a/{RESULT}0", f"a/{RESULT}1", f"b/{RESULT}1"],
            ["RTnet, seed 0, a", "RTnet, seed 1, a", "RTnet, seed 1, b"],
        ),
        (["x0", "y0"], ["RTnet, x0", "RTnet, y0"]),
    ],
)
def test_results_of_one_system_are_called_by_what_differs(tmp_path, places, expected):
    assert labels(tmp_path, *places) == expected


# ---- In the browser ------------------------------------------------------------------------

LATE = {"latency_ms": 500.0, "lookahead_declared": 99, "realtime": False}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    _, velocity = movement()
    results = [
        result(folder, "RTnet", velocity),  # a perfect decoder
        result(folder, "sRTnet", np.zeros((STEPS, 2), "float32")),
        result(folder, "tinyRSNN", step_at(8.0), **LATE),
        result(folder, "tinyRSNN", step_at(9.0), seed=1),
        result(folder, HOSTILE, step_at(9.5)),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_in_loop, "play", looped)
        path, done = view(folder, results, "--loop", "2")
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture
def page(browser, written):
    """The page just opened; afterwards it must have been quiet."""
    browser.begin(written)
    yield browser
    assert browser.messages == []
    assert browser.requests == [written.as_uri()], "the page asks for nothing but itself"


def time_of(page):
    return float(page.evaluate("document.getElementById('time').textContent").removesuffix(" s"))


def choose(page, name, value):
    page.evaluate(
        f"(box => {{ box.value = {json.dumps(value)}; box.dispatchEvent(new Event('change')); "
        f"box.dispatchEvent(new Event('input')); }})(document.getElementById({json.dumps(name)}))"
    )
    page.evaluate(FRAME)


def pixels(page, selector, shade, opaque=200):
    """(y, x) of the pixels of a canvas that have about this colour, in rows and columns."""
    url = page.evaluate(f"document.querySelector({json.dumps(selector)}).toDataURL()")
    picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    image = np.array(picture.convert("RGBA")).astype(int)
    wanted = [int(shade[i : i + 2], 16) for i in (1, 3, 5)]
    near = np.abs(image[..., :3] - wanted).sum(axis=2) < 40
    return np.argwhere(near & (image[..., 3] > opaque))


def only(page, *shown):
    """Show these systems, by their number on the page."""
    for number, on in enumerate(
        page.evaluate("[...document.querySelectorAll('#systems input')].map(box => box.checked)")
    ):
        if on != (number in shown):
            page.click(f"#systems label:nth-of-type({number + 1})")
    page.evaluate(FRAME)


@needs_chromium
def test_play_moves_time_and_pause_stops_it(page):
    start = time_of(page)
    page.click("#play")
    assert page.evaluate("document.getElementById('play').textContent") == "Pause"
    page.wait(f"parseFloat(document.getElementById('time').textContent) > {start + 0.3}")
    page.click("#play")
    page.evaluate(FRAME)
    paused = time_of(page)
    page.evaluate("new Promise(done => setTimeout(done, 300))")
    assert time_of(page) == paused


@needs_chromium
def test_speed_changes_how_fast_time_runs(page):
    def advance(speed):
        choose(page, "speed", speed)
        choose(page, "seek", "5")
        page.key(" ")
        page.evaluate("new Promise(done => setTimeout(done, 600))")
        page.key(" ")
        page.evaluate(FRAME)
        return time_of(page) - 5

    assert advance("5") > 5 * advance("0.1") > 0


@needs_chromium
def test_play_stops_at_the_end_and_begins_anew(page):
    page.key("End")
    page.key("ArrowLeft")
    page.key(" ")
    page.wait("document.getElementById('play').textContent === 'Play'")
    page.evaluate(FRAME)
    assert time_of(page) == pytest.approx((STEPS - 1) * DT, abs=0.006)
    page.key(" ")
    page.wait("parseFloat(document.getElementById('time').textContent) < 5")
    page.key(" ")


@needs_chromium
def test_keys_seek(page):
    page.key("Home")
    page.evaluate(FRAME)
    assert time_of(page) == 0
    for _ in range(3):
        page.key("ArrowRight")
    page.key("ArrowLeft")
    page.evaluate(FRAME)
    assert time_of(page) == pytest.approx(0.4)


@needs_chromium
def test_systems_are_shown_and_hidden(page):
    only(page, 0, 2)
    shade = colour("tinyRSNN")
    assert len(pixels(page, "#vx", shade)) > 20
    hidden = "[...document.querySelectorAll('#cards .card')].map(card => card.hidden)"
    assert page.evaluate(hidden) == [False, True, False, True, True]
    page.key("3")
    page.evaluate(FRAME)
    assert len(pixels(page, "#vx", shade)) == 0
    assert page.evaluate("document.querySelectorAll('.card')[2].hidden")
    only(page)
    assert page.evaluate("getComputedStyle(document.querySelector('.empty')).display") != "none"


@needs_chromium
def test_footprints_are_told_apart(page):
    data = json.loads(page.evaluate("document.getElementById('data').textContent"))
    headings = page.evaluate(
        "[...document.querySelectorAll('#figures thead th')].map(cell => cell.textContent)"
    )
    rows = page.evaluate(
        "[...document.querySelectorAll('#figures tbody tr')].map("
        "row => [...row.cells].map(cell => cell.textContent))"
    )
    for kind, key in (("NeuroBench", "footprint"), ("Deployed", "deployment_bytes")):
        column = headings.index(f"{kind} footprint (bytes)")
        found = [int(row[column].replace(",", "")) for row in rows]
        assert found == [system[key] for system in data["systems"]]
    cards = page.evaluate(
        "[...document.querySelectorAll('#cards .card')].map("
        "card => card.querySelectorAll('dd')[1].textContent)"
    )
    for card, system in zip(cards, data["systems"], strict=True):
        bytes_ = system["deployment_bytes"]
        assert card == (f"{bytes_ / 1e3:.1f} kB" if bytes_ >= 1000 else f"{bytes_} B")


@needs_chromium
def test_two_seeds_of_a_system_are_told_apart(page):
    labels = page.evaluate(
        "[...document.querySelectorAll('#systems label')].map(label => label.textContent)"
    )
    assert labels == ["RTnet", "sRTnet", "tinyRSNN, seed 0", "tinyRSNN, seed 1", HOSTILE]


@needs_chromium
def test_delay_draws_decoded_traces_late(page):
    only(page, 2)
    choose(page, "seek", "10")

    def jump():
        """Where the decoded velocity jumps: the middle of its upper level's left end."""
        found = pixels(page, "#vx", colour("tinyRSNN"))
        return found[found[:, 0] == found[:, 0].min()][:, 1].min()

    aligned = jump()
    choose(page, "delay", "latency")
    by_latency = jump() - aligned
    choose(page, "delay", "lookahead")
    when_available = jump() - aligned
    assert by_latency > 40
    assert by_latency / when_available == pytest.approx(0.5 / ((99 + 1) * DT), rel=0.04)
    choose(page, "delay", "latency")
    choose(page, "span", "10")
    wide = jump()
    choose(page, "delay", "none")
    assert wide - jump() == pytest.approx(by_latency / 2, abs=2)
    late = page.evaluate(
        "document.querySelectorAll('.card')[2].querySelector('dd:last-child').textContent"
    )
    assert late == "0 ms"


@needs_chromium
def test_cursor_paths_integrate_the_decoded_velocity(page):
    choose(page, "anchor", "5")
    choose(page, "seek", "9.5")  # 4.5 s after the cursor was put back

    def extent(number, shade):
        found = pixels(page, f".card:nth-of-type({number}) canvas", shade)
        return np.array([found.min(axis=0), found.max(axis=0)])

    truth = extent(2, "#000000")
    assert np.ptp(truth, axis=0).min() > 80
    perfect = extent(1, colour("RTnet"))
    np.testing.assert_allclose(perfect, truth, atol=12)  # the ring
    silent = extent(2, colour("sRTnet"))
    assert np.ptp(silent, axis=0).max() <= 14, "a decoder of no movement stays where it was put"


@needs_chromium
def test_names_are_text(page):
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("document.scripts.length") == 2


@needs_chromium
def test_page_says_what_the_data_are(page, browser, tmp_path):
    assert "Synthetic data" in page.evaluate("document.getElementById('source').innerText")
    text = page.evaluate("document.body.innerText")
    for word in ("NeuroBench", "not real time", "seed 0", "R²", "bytes", "Drawn late by"):
        assert word in text
    path, _ = view(tmp_path, [result(tmp_path, "RTnet", step_at(1), source="zenodo")])
    page.open(path)
    assert "Zenodo record 583331" in page.evaluate("document.getElementById('source').innerText")
    browser.requests.remove(path.as_uri())


@needs_chromium
@pytest.mark.parametrize("width", [1280, 700, 380])
def test_page_fits_the_window(page, width):
    page.size(width, 800)
    page.evaluate(FRAME)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in ("#raster", "#vx", "#vy", ".card canvas", "#overview"):
        assert page.evaluate(f"document.querySelector('{selector}').width") > 100
    page.key("l")
    page.evaluate(FRAME)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('#loops canvas').width") > 100


@needs_chromium
def test_the_loop_shows_what_was_wanted_and_decoded(page):
    assert not page.evaluate("document.getElementById('loops').checkVisibility()")
    page.key("l")
    choose(page, "seek", "0.496")
    assert page.evaluate("document.getElementById('loops').checkVisibility()")
    assert not page.evaluate("document.getElementById('traces').checkVisibility()")
    assert "User and brain are simulated" in page.evaluate("document.body.innerText")
    assert len(pixels(page, "#loops .spikes", "#1a1f26", opaque=100)) > 50

    def drawn(seconds):
        """Of RTnet and its user: ranges of rows and of columns."""
        choose(page, "seek", seconds)
        places = (pixels(page, "#loops canvas", shade) for shade in (colour("RTnet"), "#000000"))
        return [np.array([found.min(axis=0), found.max(axis=0)]).T for found in places]

    (rows, columns), (wanted_rows, wanted_columns) = drawn("0.496")
    (_, later), _ = drawn("0.996")
    mm = (later[1] - columns[1]) / 30  # 0.5 s at 60 mm/s
    assert later[0] == columns[0], "where it was when the target appeared"
    up, ahead = rows.mean() - wanted_rows[0], columns[1] - wanted_columns.mean()
    assert up / mm == pytest.approx(0.2 * 120, abs=2)
    assert ahead / mm == pytest.approx(0.2 * 60, abs=2)
    assert (wanted_columns.mean() - columns[0]) / mm == pytest.approx(30, abs=4)  # and the ring


@needs_chromium
def test_targets_begin_together_for_the_systems_shown(page):
    def outcomes():
        page.evaluate(FRAME)
        return page.evaluate(
            "[...document.querySelectorAll('#loops .card:not([hidden])')].map("
            "card => card.querySelector('.verdict').textContent)"
        )

    def figures():
        return page.evaluate(
            "[...document.querySelectorAll('#loops .card')].map("
            "card => [...card.querySelectorAll('dd')].slice(0, 3).map(cell => cell.textContent))"
        )

    text = "document.getElementById('time').textContent"
    page.key("l")
    only(page, 0, 1)
    choose(page, "seek", "1.5")
    assert outcomes() == ["1.50 s", "✗ given up: 1.00 s"]
    assert figures()[:2] == [
        ["0 of 0", "–", "104 ms, × 1.25"],
        ["0 of 1", "0.50 bit/s", "104 ms, × 1.25"],
    ]
    choose(page, "seek", "2")
    assert page.evaluate(text) == "target 2 of 2, 0.00 s"
    assert figures()[0][:2] == ["1 of 1", "0.50 bit/s"]
    choose(page, "seek", "1.5")
    page.key("1")  # RTnet, the slower, is hidden
    assert outcomes() == ["✗ given up: 1.00 s"]
    assert page.evaluate(text) == "target 1 of 2, 1.00 s"
    page.key("ArrowRight")
    page.evaluate(FRAME)
    assert page.evaluate(text) == "target 2 of 2, 0.20 s"
    page.key("End")
    assert outcomes() == ["✗ given up: 1.00 s"]
    assert figures()[1][:2] == ["0 of 2", "0.25 bit/s"]
    page.key("l")
    page.evaluate(FRAME)
    assert time_of(page) == 5, "the test part has kept its time"
