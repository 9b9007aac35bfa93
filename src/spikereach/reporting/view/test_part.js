// ---- The test part: true and decoded movement ------------------------------------------------

const { steps, unit } = data;
const spikes = unpackSpikes(data, steps);
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
for (const system of systems) {
  const values = unpack(system.velocity);
  Object.assign(system, { values, peaks: peaks(values), sums: summed(values) });
}

const testPart = {
  label: "Time in the test part",
  now: 0,
  duration: (steps - 1) * dt,
  time: () => `${(data.start + testPart.now).toFixed(2)} s`,
  draw() {
    const last = Math.min(steps - 1, Math.floor(testPart.now / dt + 1e-6));
    drawRaster(raster, spikes, begin() / dt, last, state.span / dt);
    drawNow(raster, passed(), 4);
    panels.forEach(drawVelocity);
    for (const system of systems) if (system.shown) drawPath(system);
  },
  drawOverview,
};

/** Steps by which the decoded velocity of a system is drawn late. */
function lateness(system) {
  if (state.delay === "latency") return Math.round(system.latency_ms / 1000 / dt);
  return state.delay === "lookahead" ? system.lookahead_declared + 1 : 0;
}

function verdict(system) {
  return element("span", system.realtime ? "✓ real time" : "✗ not real time",
    `verdict ${system.realtime ? "yes" : "no"}`);
}

function testCard(system) {
  const canvas = picture(`Cursor path, true and decoded by ${system.label}`);
  system.path = surface(canvas);
  system.late = element("dd");
  return card(system, verdict(system), [canvas], [
    ["R²", signed(system.r2, 3)],
    ["Footprint", size(system.deployment_bytes)],
    ["Latency, rate", `${milliseconds(system.latency_ms / 1000)}, ${rate(system.execution_rate_hz)}`],
    ["Drawn late by", system.late],
  ]);
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

const raster = surface($("raster"));
const panels = [surface($("vx")), surface($("vy"))];

/** Start of the window: now is at its right end, once there is that much before it. */
const begin = () => Math.min(Math.max(0, testPart.now - state.span),
  Math.max(0, testPart.duration - state.span));
/** The part of the window that has passed. */
const passed = () => (testPart.now - begin()) / state.span;

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
  tickLabels(panel, levels.map(level => [y(level), number(level)]));
  if (axis) {
    g.textAlign = "center";
    for (const time of times) g.fillText(number(time), x(time - data.start), TOP + tall + 14);
    g.fillText("Time in the test part (s)", LEFT + inner / 2, height - 5);
  }
  drawNow(panel, passed(), bottom);
}

/** The line of one axis up to now; with several steps per pixel, their extremes. */
function polyline(g, values, axis, late, x, y, inner) {
  const first = Math.max(Math.ceil(begin() / dt) - 1, late);
  const last = Math.min(steps - 1, Math.floor(testPart.now / dt + 1e-6));
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
  const { g } = system.path;
  clear(system.path);
  const axes = plane(system.path, bounds, unit);
  if (!axes) return;
  const { x, y } = axes;
  g.save();
  axes.clip();
  const now = Math.min(steps - 1, Math.floor(testPart.now / dt + 1e-6));
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
  axes.frame();
  system.late.textContent = milliseconds(lateness(system) * dt);
}

/** True speed over the whole stretch, and the window. */
function drawOverview({ g, width, height }) {
  const x = seconds => (seconds / testPart.duration) * width;
  const columns = new Float32Array(Math.max(1, Math.floor(width)));
  speeds.forEach((speed, step) => {
    const column = Math.floor((step / steps) * columns.length);
    columns[column] = Math.max(columns[column], speed);
  });
  const largest = columns.reduce((a, b) => Math.max(a, b), 1e-9);
  g.fillStyle = "#cfe0f3";
  g.fillRect(x(begin()), 0, x(testPart.now) - x(begin()), height);
  g.fillStyle = "#7d8896";
  columns.forEach((speed, column) => {
    const tall = (speed / largest) * (height - 4);
    g.fillRect(column, height - tall, 1, tall);
  });
}
