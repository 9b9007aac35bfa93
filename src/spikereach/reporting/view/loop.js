
// ---- In the loop: what each decoder's user wanted and got, target by target --------------------

const SPIKES_S = 2, AHEAD_S = 0.2;

/** Targets begin together, each as soon as all decoders shown are done with the one before. */
const loop = data.loop && {
  label: "Time in the loop",
  now: 0,
  duration: 0,
  starts: [0],  // in steps of this view's time, one more than targets
  time() {
    const { trial, offset } = trialNow();
    return `target ${trial + 1} of ${data.loop.targets.length}, ${(offset * dt).toFixed(2)} s`;
  },
  draw() {
    for (const system of systems) if (system.shown) drawLoop(system);
  },
  drawOverview: drawTrials,
};

if (loop) systems.forEach((system, index) => {
  const { edge, decoders } = data.loop, found = decoders[index];
  const decoded = unpack(found.decoded);
  const inside = value => Math.min(edge, Math.max(-edge, value));
  const cursor = new Float64Array(decoded.length);
  decoded.forEach((value, i) => {
    cursor[i] = inside((i < 2 ? 0 : cursor[i - 2]) + value * dt);
  });
  const wanted = unpack(found.wanted), spikes = unpackSpikes(found, decoded.length / 2);
  system.loop = { ...found, cursor, wanted, decoded, spikes };
});

function trialNow() {
  const step = Math.floor(loop.now / dt + 1e-6);
  const trial = loop.starts.findLastIndex(start => start <= step);
  return { trial, offset: step - loop.starts[trial] };
}

/** Lay out the time for the systems that are shown, and stay where it was. */
function arrange() {
  const { trial, offset } = trialNow();
  const shown = systems.filter(system => system.shown);
  const starts = [0];
  data.loop.targets.forEach((_, i) => {
    const lengths = (shown.length ? shown : systems).map(system => system.loop.lengths[i]);
    starts.push(starts[i] + Math.max(...lengths));
  });
  loop.starts = starts;
  loop.duration = (starts.at(-1) - 1) * dt;
  loop.now = Math.min(starts[trial] + offset, starts[trial + 1] - 1) * dt;
}

function loopCard(system) {
  const { lookahead_ms, gain } = system.loop;
  const task = picture(`Cursor and target of a user of ${system.label}`);
  const raster = picture(`Spikes that ${system.label} reads, of the last ${SPIKES_S} s`);
  raster.className = "spikes";
  const outcome = element("span"), reached = element("dd"), throughput = element("dd");
  system.panel = { task: surface(task), raster: surface(raster, 48), outcome, reached, throughput };
  return card(system, outcome, [task, raster], [
    ["Reached so far", reached],
    ["Throughput so far", throughput],
    ["Look-ahead, gain", `${milliseconds(lookahead_ms / 1000)}, × ${gain.toFixed(2)}`],
    ["R², open loop", signed(system.r2, 3)],
  ]);
}

function drawLoop(system) {
  const { loop: played, panel } = system;
  const { trial, offset } = trialNow(), begun = played.starts[trial];
  const steps = Math.min(offset + 1, played.lengths[trial]), step = begun + steps - 1;
  const over = steps === played.lengths[trial], won = played.success[trial];
  drawTask(system, trial, begun, step, over);

  const window = SPIKES_S / dt, first = Math.max(0, step - window);
  drawRaster(panel.raster, played.spikes, first, step, window);
  const since = (begun - first) / window;
  if (since >= 0) drawNow(panel.raster, since, 4);

  const ended = trial + over, time = `${(steps * dt).toFixed(2)} s`;
  panel.outcome.textContent = !over ? time : won ? `✓ reached: ${time}` : `✗ given up: ${time}`;
  panel.outcome.className = `verdict ${over ? (won ? "yes" : "no") : ""}`;
  panel.reached.textContent = `${played.success.slice(0, ended).filter(Boolean).length} of ${ended}`;
  panel.throughput.textContent = ended ? `${played.throughput[ended - 1].toFixed(2)} bit/s` : "–";
}

function drawTask({ panel, loop: played, colour, dash }, trial, begun, step, over) {
  const { g } = panel.task, { cursor, wanted, decoded } = played;
  const { edge, width, targets } = data.loop;
  clear(panel.task);
  const bound = 1.06 * edge;
  const axes = plane(panel.task, [[-bound, bound], [-bound, bound]], "mm");
  if (!axes) return;
  const point = (values, at) => [axes.x(values[2 * at]), axes.y(values[2 * at + 1])];
  g.save();
  axes.clip();
  const [tx, ty] = targets[trial], side = axes.x(width) - axes.x(0);
  const off = Math.max(Math.abs(cursor[2 * step] - tx), Math.abs(cursor[2 * step + 1] - ty));
  const square = [axes.x(tx - width / 2), axes.y(ty + width / 2), side, side];
  g.fillStyle = off < width / 2 ? "#55606e66" : "#55606e1a";
  g.fillRect(...square);
  stroke(g, SOFT, 1.5, [], () => g.rect(...square));
  stroke(g, colour, 1.5, dash, () => {
    for (let at = begun; at < step; at += 2) g.lineTo(...point(cursor, at));
    g.lineTo(...point(cursor, step));
  });
  disc(g, ...point(cursor, begun), 4, colour, false);
  disc(g, ...point(cursor, step), 5, colour, true);
  if (!over) {
    const ahead = velocity => [0, 1].map(axis =>
      cursor[2 * step + axis] + AHEAD_S * velocity[2 * step + axis]);
    const go = (velocity, shade, thick) =>
      arrow(g, ...point(cursor, step), ...point(ahead(velocity), 0), shade, thick);
    go(decoded, colour, 3.5);
    go(wanted, data.true, 1.5);
  }
  g.restore();
  axes.frame();
}

function arrow(g, x0, y0, x1, y1, colour, width) {
  const length = Math.hypot(x1 - x0, y1 - y0), head = Math.min(0.7 * length, 5 + width);
  if (length < 2) return;
  const dx = (x1 - x0) / length, dy = (y1 - y0) / length;
  const barb = side => [x1 - head * (dx + side * 0.5 * dy), y1 - head * (dy - side * 0.5 * dx)];
  stroke(g, colour, width, [], () => {
    g.moveTo(x0, y0);
    g.lineTo(x1, y1);
    g.moveTo(...barb(1));
    g.lineTo(x1, y1);
    g.lineTo(...barb(-1));
  });
}

/** How long each decoder shown takes for each target, a row each; pale where it gives up. */
function drawTrials({ g, width, height }) {
  const shown = systems.filter(system => system.shown), row = height / Math.max(1, shown.length);
  const x = step => (step / loop.starts.at(-1)) * width;
  data.loop.targets.forEach((_, trial) => {
    shown.forEach(({ colour, loop: played }, i) => {
      g.globalAlpha = played.success[trial] ? 1 : 0.3;
      g.fillStyle = colour;
      g.fillRect(x(loop.starts[trial]) + 1, i * row + 1, x(played.lengths[trial]) - 2, row - 2);
    });
    g.globalAlpha = 1;
    g.fillStyle = EDGE;
    if (trial) g.fillRect(Math.round(x(loop.starts[trial])), 0, 1, height);
  });
}
