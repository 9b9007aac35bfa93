"use strict";
(() => {
// ---- Data: typed arrays from base64, little-endian -------------------------------------------

const data = JSON.parse(document.getElementById("data").textContent);
const { dt, steps, unit } = data;
const duration = (steps - 1) * dt;
const SOFT = "#55606e", RULE = "#e4e8ed", EDGE = "#9aa5b1";

function bytes(text) {
  const raw = atob(text);
  const out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

/** x and y of every step in turn. */
function unpack({ scale, data: text }) {
  return Float32Array.from(new Int16Array(bytes(text).buffer), value => value * scale);
}

const spikes = bytes(data.spikes);
const spikeBytes = Math.ceil(data.channels / 8);
const position = unpack(data.position);
const velocity = unpack(data.velocity);

/** Sums of a velocity, so that any stretch of it is integrated by one subtraction. */
function summed(values) {
  const sums = new Float64Array(values.length);
  for (let i = 2; i < values.length; i++) sums[i] = sums[i - 2] + values[i] * dt;
  return sums;
}

/** Largest absolute value along each axis. */
function peaks(values) {
  const found = [0, 0];
  values.forEach((value, i) => { found[i % 2] = Math.max(found[i % 2], Math.abs(value)); });
  return found;
}

const truePeaks = peaks(velocity);
const speeds = Float32Array.from({ length: steps }, (_, step) =>
  Math.hypot(velocity[2 * step], velocity[2 * step + 1]));
const names = data.systems.map(system => system.system);
const systems = data.systems.map((system, index) => {
  const before = names.slice(0, index).filter(name => name === system.system).length;
  const values = unpack(system.velocity);
  return {
    ...system,
    dash: [[], [7, 3], [3, 3], [1, 3]][before % 4],
    values,
    peaks: peaks(values),
    sums: summed(values),
    shown: index < 4,
  };
});

// ---- State -----------------------------------------------------------------------------------

const $ = id => document.getElementById(id);
const state = { now: 0, playing: false, speed: 1, span: 5, anchor: 2, delay: "none" };
let stale = true;

/** Steps by which the decoded velocity of a system is drawn late. */
function lateness(system) {
  if (state.delay === "latency") return Math.round(system.latency_ms / 1000 / dt);
  return state.delay === "lookahead" ? system.lookahead_declared + 1 : 0;
}

function seek(seconds) {
  state.now = Math.min(duration, Math.max(0, seconds));
  stale = true;
}

function play(on) {
  if (on && state.now >= duration) seek(0);
  state.playing = on;
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(on));
  stale = true;
}

// ---- Elements --------------------------------------------------------------------------------

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const count = value => Math.round(value).toLocaleString("en-GB");
const size = value => value < 1e3 ? `${value} B` : value < 1e6
  ? `${(value / 1e3).toFixed(1)} kB` : `${(value / 1e6).toFixed(2)} MB`;
const milliseconds = value => `${count(value * 1000)} ms`;
const rate = value => `${value >= 10 ? +value.toFixed(1) : +value.toPrecision(2)} Hz`;
const signed = (value, digits) => value.toFixed(digits).replace("-", "−");

/** A piece of the line in which a system is drawn. */
function swatch(colour, dash) {
  const canvas = element("canvas", undefined, "swatch");
  canvas.width = 44;
  canvas.height = 16;
  const g = canvas.getContext("2d");
  g.scale(2, 2);
  g.strokeStyle = colour;
  g.lineWidth = 3;
  g.setLineDash(dash);
  g.beginPath();
  g.moveTo(0, 4);
  g.lineTo(22, 4);
  g.stroke();
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

function verdict(system) {
  return element("span", system.realtime ? "✓ real time" : "✗ not real time",
    `verdict ${system.realtime ? "yes" : "no"}`);
}

function build() {
  $("session").textContent = data.session;
  const end = data.start + steps * dt;
  const seeds = [...new Set(systems.map(system => system.seed))];
  $("about").textContent = `monkey ${data.monkey} · ${data.channels} channels · ` +
    `${data.start.toFixed(0)} to ${end.toFixed(0)} s of ${data.test.toFixed(0)} s of test data · ` +
    `seed${seeds.length > 1 ? "s" : ""} ${seeds.join(", ")}`;
  const sources = {
    synthetic: "Synthetic data: simulated, not a recording",
    zenodo: "Recording: Zenodo record 583331 (O’Doherty et al. 2017)",
    local: "Recording from a local folder",
  };
  $("source").textContent = sources[data.source] ?? `Data source: ${data.source}`;
  if (!data.real) $("source").className = "synthetic";

  const truth = element("span");
  truth.append(swatch(data.true, []), "true movement");
  $("systems").append(truth);
  for (const system of systems) {
    const label = element("label");
    system.box = element("input");
    system.box.type = "checkbox";
    system.box.checked = system.shown;
    system.box.addEventListener("change", () => show(system, system.box.checked));
    label.append(system.box, swatch(system.colour, system.dash), system.label);
    $("systems").append(label);
    $("cards").append(card(system));
  }
  $("cards").append(element("p", "No system is shown: choose some above.", "empty"));
  table();
  const commits = [...new Set(systems.map(system => system.commit))].join(", ");
  $("made").textContent = `Made by spikereach from results of commit ${commits}.`;
  const seekBar = $("seek");
  seekBar.min = 0;
  seekBar.max = duration;
  seekBar.step = dt;
  $("raster").setAttribute("aria-label", `Spikes of ${data.channels} channels over time`);
}

function card(system) {
  const made = element("article", undefined, "card");
  made.style.setProperty("--system", system.colour);
  const head = element("header");
  head.append(element("h2", system.label), verdict(system));
  const canvas = element("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Cursor path, true and decoded by ${system.label}`);
  const list = element("dl");
  system.late = element("dd");
  for (const [name, value] of [
    ["R²", signed(system.r2, 3)],
    ["Footprint", size(system.deployment_bytes)],
    ["Latency, rate", `${milliseconds(system.latency_ms / 1000)}, ${rate(system.execution_rate_hz)}`],
    ["Drawn late by", system.late],
  ]) {
    list.append(element("dt", name), value instanceof Node ? value : element("dd", value));
  }
  made.append(head, canvas, list);
  made.hidden = !system.shown;
  system.card = made;
  system.path = surface(canvas);
  return made;
}

function table() {
  const columns = [
    ["R²", s => signed(s.r2, 3)], ["R² x", s => signed(s.r2_x, 3)],
    ["R² y", s => signed(s.r2_y, 3)], ["Channels", s => count(s.channels)],
    ["Parameters", s => count(s.parameters)],
    ["NeuroBench footprint (bytes)", s => count(s.footprint)],
    ["Deployed footprint (bytes)", s => count(s.deployment_bytes)],
    ["MACs per step", s => count(s.macs)], ["ACs per step", s => count(s.acs)],
    ["Latency", s => milliseconds(s.latency_ms / 1000)],
    ["Look-ahead", s => milliseconds(s.lookahead_declared * dt)],
    ["Rate", s => rate(s.execution_rate_hz)],
    ["Real time", s => s.realtime ? "yes" : "no"],
  ];
  const head = element("tr");
  const body = element("tbody");
  for (const name of ["System", ...columns.map(([name]) => name)]) {
    const cell = element("th", name);
    cell.scope = "col";
    head.append(cell);
  }
  for (const system of systems) {
    const row = element("tr");
    const name = element("th");
    name.scope = "row";
    name.append(swatch(system.colour, system.dash), system.label);
    row.append(name, ...columns.map(([, value]) => element("td", value(system))));
    body.append(row);
  }
  const top = element("thead");
  top.append(head);
  $("figures").append(element("caption", `All systems over the whole test part of ${data.session}`),
    top, body);
}

function show(system, on) {
  system.shown = system.box.checked = on;
  system.card.hidden = !on;
  stale = true;
}

// ---- Drawing ---------------------------------------------------------------------------------

/** A canvas with its drawing context in CSS pixels. */
function surface(canvas) {
  const made = { canvas, g: canvas.getContext("2d"), width: 0, height: 0, ratio: 1 };
  made.fit = () => {
    made.ratio = window.devicePixelRatio || 1;
    made.width = canvas.clientWidth;
    made.height = canvas.clientHeight;
    canvas.width = Math.round(made.width * made.ratio);
    canvas.height = Math.round(made.height * made.ratio);
    stale = true;
  };
  new ResizeObserver(made.fit).observe(canvas);
  return made;
}

function clear({ g, width, height, ratio }) {
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = "11px system-ui, Arial, sans-serif";
  g.setLineDash([]);
  g.lineJoin = "round";
}

/** Round values in [low, high], about `wanted` of them. */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(factor => factor * power >= rough) * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9; i++) found.push(i * step);
  return found;
}

const number = value => String(+value.toFixed(6)).replace("-", "−");

function stroke(g, colour, width, dash, draw) {
  g.save();
  g.strokeStyle = colour;
  g.lineWidth = width;
  g.setLineDash(dash);
  g.beginPath();
  draw();
  g.stroke();
  g.restore();
}

const LEFT = 58, RIGHT = 12, TOP = 8;
const raster = surface($("raster"));
const panels = [surface($("vx")), surface($("vy"))];
const overview = surface($("overview"));

/** Start of the window: now is at its right end, once there is that much before it. */
const begin = () => Math.min(Math.max(0, state.now - state.span), Math.max(0, duration - state.span));

function frame(panel, bottom, label) {
  const { g, width, height } = panel;
  g.strokeStyle = EDGE;
  g.lineWidth = 1;
  g.strokeRect(LEFT - 0.5, TOP - 0.5, width - LEFT - RIGHT + 1, height - TOP - bottom + 1);
  g.save();
  g.fillStyle = SOFT;
  g.textAlign = "center";
  g.translate(13, (TOP + height - bottom) / 2);
  g.rotate(-Math.PI / 2);
  g.fillText(label, 0, 0);
  g.restore();
}

function tickLabels(g, at) {
  g.fillStyle = SOFT;
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const [y, text] of at) g.fillText(text, LEFT - 6, y);
  g.textBaseline = "alphabetic";
}

/** Every spike one mark; where several steps share a pixel, marks add up to darker ones. */
function drawRaster() {
  const { g, width, height, ratio } = raster;
  clear(raster);
  const bottom = 4, inner = width - LEFT - RIGHT, tall = height - TOP - bottom;
  if (inner < 10) return;
  const wide = Math.round(inner * ratio), high = Math.round(tall * ratio);
  const image = g.createImageData(wide, high);
  const ink = new Uint8ClampedArray(wide * high);
  const perStep = wide / (state.span / dt);
  const strength = perStep >= 1 ? 255 : Math.max(70, 255 * Math.sqrt(perStep));
  const row = high / data.channels;
  const thick = Math.max(1, Math.floor(row * 0.8)), broad = Math.max(1, Math.floor(perStep));
  // Whole pixels of the recording, not of the window, so that marks do not flicker in scrolling.
  const first = Math.ceil(begin() / dt), offset = Math.floor((begin() / dt) * perStep);
  const last = Math.min(steps - 1, Math.floor(state.now / dt + 1e-6));
  for (let step = first; step <= last; step++) {
    const x = Math.floor(step * perStep) - offset;
    for (let byte = 0; byte < spikeBytes; byte++) {
      let bits = spikes[step * spikeBytes + byte];
      for (let channel = byte * 8; bits; channel++, bits = (bits << 1) & 255) {
        if (!(bits & 128)) continue;
        const y = high - Math.round((channel + 0.9) * row);
        for (let dy = 0; dy < thick; dy++) {
          for (let dx = 0; dx < broad && x + dx < wide; dx++) {
            ink[Math.max(0, y + dy) * wide + x + dx] += strength;
          }
        }
      }
    }
  }
  for (let i = 0; i < ink.length; i++) {
    if (!ink[i]) continue;
    image.data[4 * i] = 26;
    image.data[4 * i + 1] = 31;
    image.data[4 * i + 2] = 38;
    image.data[4 * i + 3] = ink[i];
  }
  g.putImageData(image, Math.round(LEFT * ratio), Math.round(TOP * ratio));
  frame(raster, bottom, "Channel");
  const marks = ticks(0, data.channels, 5).filter(value => value >= 1 && value <= data.channels);
  tickLabels(g, [1, ...marks].map(value =>
    [TOP + tall * (1 - (value - 0.5) / data.channels), String(value)]));
  drawNow(raster, bottom);
}

/** Largest speed along an axis, true or decoded by a system that is shown. */
function reach(axis) {
  const shown = systems.filter(system => system.shown).map(system => system.peaks[axis]);
  return 1.05 * Math.max(truePeaks[axis], ...shown) || 1;
}

function drawVelocity(panel, axis) {
  const { g, width, height } = panel;
  clear(panel);
  const bottom = axis ? 34 : 4, inner = width - LEFT - RIGHT, tall = height - TOP - bottom;
  if (inner < 10) return;
  const limit = reach(axis), start = begin();
  const x = seconds => LEFT + ((seconds - start) / state.span) * inner;
  const y = value => TOP + (tall / 2) * (1 - value / limit);
  const levels = ticks(-limit, limit, 6);
  const times = ticks(data.start + start, data.start + start + state.span, Math.max(3, inner / 110));
  stroke(g, RULE, 1, [], () => {
    for (const level of levels) {
      g.moveTo(LEFT, Math.round(y(level)) + 0.5);
      g.lineTo(LEFT + inner, Math.round(y(level)) + 0.5);
    }
    for (const time of times) {
      g.moveTo(x(time - data.start), TOP);
      g.lineTo(x(time - data.start), TOP + tall);
    }
  });
  g.save();
  g.beginPath();
  g.rect(LEFT, TOP, inner, tall);
  g.clip();
  const trace = (values, late) => polyline(g, values, axis, late, x, y, inner);
  stroke(g, data.true, 1.8, [], () => trace(velocity, 0));
  for (const system of systems) {
    if (!system.shown) continue;
    stroke(g, system.colour, 1.5, system.dash, () => trace(system.values, lateness(system)));
  }
  g.restore();
  frame(panel, bottom, `${"xy"[axis]} velocity (${unit}/s)`);
  tickLabels(g, levels.map(level => [y(level), number(level)]));
  if (axis) {
    g.textAlign = "center";
    for (const time of times) g.fillText(number(time), x(time - data.start), TOP + tall + 14);
    g.fillText("Time in the test part (s)", LEFT + inner / 2, height - 5);
  }
  drawNow(panel, bottom);
}

/** The line of one axis up to now; with several steps per pixel, their extremes. */
function polyline(g, values, axis, late, x, y, inner) {
  const first = Math.max(Math.ceil(begin() / dt) - 1, late);
  const last = Math.min(steps - 1, Math.floor(state.now / dt + 1e-6));
  const group = Math.max(1, Math.floor(state.span / dt / inner));
  for (let step = first - (first % group); step <= last; step += group) {
    let low = Infinity, high = -Infinity;
    for (let i = Math.max(step, first); i < step + group && i <= last; i++) {
      const value = values[2 * (i - late) + axis];
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    if (low > high) continue;
    g.lineTo(x(step * dt), y(high));
    if (group > 1) g.lineTo(x(step * dt), y(low));
  }
}

function drawNow({ g, width, height }, bottom) {
  const x = LEFT + ((state.now - begin()) / state.span) * (width - LEFT - RIGHT);
  stroke(g, "#0b57a4", 1.5, [], () => {
    g.moveTo(x, TOP);
    g.lineTo(x, height - bottom);
  });
}

const bounds = [0, 1].map(axis => {
  let low = Infinity, high = -Infinity;
  for (let i = axis; i < position.length; i += 2) {
    low = Math.min(low, position[i]);
    high = Math.max(high, position[i]);
  }
  const margin = 0.08 * (high - low) || 1;
  return [low - margin, high + margin];
});

/** True position at the last anchor, and the decoded velocity summed up from there. */
function decodedAt(system, step, anchor) {
  return [0, 1].map(axis => position[2 * anchor + axis] +
    system.sums[2 * step + axis] - system.sums[2 * anchor + axis]);
}

function drawPath(system) {
  const { g, width, height } = system.path;
  clear(system.path);
  const left = 32, bottom = 28, inner = width - left - 6, tall = height - bottom - 6;
  if (inner < 10) return;
  const [[x0, x1], [y0, y1]] = bounds;
  const scale = Math.min(inner / (x1 - x0), tall / (y1 - y0));
  const x = value => left + inner / 2 + (value - (x0 + x1) / 2) * scale;
  const y = value => 6 + tall / 2 - (value - (y0 + y1) / 2) * scale;
  const xs = ticks((x0 + x1) / 2 - inner / 2 / scale, (x0 + x1) / 2 + inner / 2 / scale, inner / 45);
  const ys = ticks((y0 + y1) / 2 - tall / 2 / scale, (y0 + y1) / 2 + tall / 2 / scale, tall / 32);
  stroke(g, RULE, 1, [], () => {
    for (const value of xs) {
      g.moveTo(x(value), 6);
      g.lineTo(x(value), 6 + tall);
    }
    for (const value of ys) {
      g.moveTo(left, y(value));
      g.lineTo(left + inner, y(value));
    }
  });
  g.fillStyle = SOFT;
  g.textAlign = "center";
  for (const value of xs.filter(at => x(at) > left + 8 && x(at) < width - 14)) g.fillText(number(value), x(value), 6 + tall + 12);
  g.textAlign = "right";
  for (const value of ys.filter(at => y(at) < tall - 2)) g.fillText(number(value), left - 4, y(value) + 4);
  g.textAlign = "center";
  g.fillText(`x, y (${unit})`, left + inner / 2, height - 4);

  g.save();
  g.beginPath();
  g.rect(left, 6, inner, tall);
  g.clip();
  const now = Math.min(steps - 1, Math.floor(state.now / dt + 1e-6));
  const known = now - lateness(system), length = Math.round(state.anchor / dt);
  const anchorOf = step => step - (step % length);
  const go = (point, from, to) => {
    for (let step = Math.max(0, from); step <= to; step += 2) g.lineTo(...point(step));
    if (to >= 0) g.lineTo(...point(to));
  };
  const truth = step => [x(position[2 * step]), y(position[2 * step + 1])];
  const oldest = anchorOf(Math.max(0, known)) - length;
  stroke(g, "#0003", 1.4, [], () => go(truth, oldest, now));
  stroke(g, data.true, 1.6, [], () => go(truth, anchorOf(Math.max(0, known)), now));
  disc(g, ...truth(now), 4, data.true, true);
  if (known >= 0) {
    const anchor = anchorOf(known);
    const decoded = start => step => {
      const [px, py] = decodedAt(system, step, start);
      return [x(px), y(py)];
    };
    if (anchor >= length) {
      g.globalAlpha = 0.35;
      stroke(g, system.colour, 1.8, system.dash, () => go(decoded(anchor - length), anchor - length, anchor));
      disc(g, ...truth(anchor - length), 4.5, system.colour, false);
      g.globalAlpha = 1;
    }
    stroke(g, system.colour, 2, system.dash, () => go(decoded(anchor), anchor, known));
    disc(g, ...truth(anchor), 4.5, system.colour, false);
    disc(g, ...decoded(anchor)(known), 4.5, system.colour, true);
  }
  g.restore();
  g.strokeStyle = EDGE;
  g.strokeRect(left - 0.5, 5.5, inner + 1, tall + 1);
  system.late.textContent = milliseconds(lateness(system) * dt);
}

function disc(g, x, y, radius, colour, filled) {
  g.beginPath();
  g.arc(x, y, radius, 0, 2 * Math.PI);
  g.fillStyle = filled ? colour : "#fff";
  g.strokeStyle = filled ? "#fff" : colour;
  g.lineWidth = filled ? 1 : 1.5;
  g.fill();
  g.stroke();
}

/** True speed over the whole stretch, the window, and now. */
function drawOverview() {
  const { g, width, height } = overview;
  clear(overview);
  const x = seconds => (seconds / duration) * width;
  const columns = new Float32Array(Math.max(1, Math.floor(width)));
  speeds.forEach((speed, step) => {
    const column = Math.floor((step / steps) * columns.length);
    columns[column] = Math.max(columns[column], speed);
  });
  const largest = columns.reduce((a, b) => Math.max(a, b), 1e-9);
  g.fillStyle = "#eef1f5";
  g.fillRect(0, 0, width, height);
  g.fillStyle = "#cfe0f3";
  g.fillRect(x(begin()), 0, x(state.now) - x(begin()), height);
  g.fillStyle = "#7d8896";
  columns.forEach((speed, column) => {
    const tall = (speed / largest) * (height - 4);
    g.fillRect(column, height - tall, 1, tall);
  });
  g.fillStyle = "#0b57a4";
  g.fillRect(Math.min(width - 3, Math.max(0, x(state.now) - 1.5)), 0, 3, height);
}

function draw() {
  drawRaster();
  panels.forEach(drawVelocity);
  for (const system of systems) if (system.shown) drawPath(system);
  drawOverview();
  const time = data.start + state.now;
  $("time").textContent = `${time.toFixed(2)} s`;
  $("seek").value = state.now;
  $("seek").setAttribute("aria-valuetext", `${time.toFixed(1)} seconds`);
}

// ---- Controls --------------------------------------------------------------------------------

function choose(id, key, convert) {
  $(id).addEventListener("change", () => {
    state[key] = convert($(id).value);
    stale = true;
  });
}

/** The option `by` places further in a select; `round` goes on at its other end. */
function move(id, by, round) {
  const box = $(id), length = box.options.length;
  const next = box.selectedIndex + by;
  box.selectedIndex = round ? (next + length) % length : Math.min(length - 1, Math.max(0, next));
  box.dispatchEvent(new Event("change"));
}

function listen() {
  $("play").addEventListener("click", () => play(!state.playing));
  $("seek").addEventListener("input", () => seek(+$("seek").value));
  choose("speed", "speed", Number);
  choose("span", "span", Number);
  choose("anchor", "anchor", Number);
  choose("delay", "delay", String);

  const traces = $("traces");
  let dragged = null;
  traces.addEventListener("pointerdown", event => {
    dragged = { x: event.clientX, now: state.now };
    traces.setPointerCapture(event.pointerId);
  });
  traces.addEventListener("pointermove", event => {
    if (!dragged) return;
    const perPixel = state.span / Math.max(1, panels[0].width - LEFT - RIGHT);
    seek(dragged.now - (event.clientX - dragged.x) * perPixel);
  });
  for (const type of ["pointerup", "pointercancel"]) {
    traces.addEventListener(type, () => { dragged = null; });
  }

  const keys = {
    " ": () => play(!state.playing),
    ArrowLeft: event => seek(state.now - (event.shiftKey ? 2 : 0.2)),
    ArrowRight: event => seek(state.now + (event.shiftKey ? 2 : 0.2)),
    Home: () => seek(0),
    End: () => seek(duration),
    "-": () => move("speed", -1, false),
    "+": () => move("speed", 1, false),
    "=": () => move("speed", 1, false),
    d: () => move("delay", 1, true),
  };
  document.addEventListener("keydown", event => {
    const target = event.target;
    const own = target.matches("select, button, input[type=checkbox]");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (own && (event.key === " " || target.matches("select"))) return;
    const system = /^[1-9]$/.test(event.key) && systems[+event.key - 1];
    const act = system ? () => show(system, !system.shown) : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act(event);
  });
}

// ---- Time ------------------------------------------------------------------------------------

let before = null;
function tick(stamp) {
  if (state.playing && before !== null) {
    // A page in the background gets no frames: it goes on where it was.
    seek(state.now + Math.min(0.25, (stamp - before) / 1000) * state.speed);
    if (state.now >= duration) play(false);
  }
  before = stamp;
  if (stale) {
    stale = false;
    draw();
  }
  requestAnimationFrame(tick);
}

build();
listen();
seek(Math.min(duration, state.span));
requestAnimationFrame(tick);
})();
