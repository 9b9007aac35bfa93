// ---- The player: what is in view, and its time -------------------------------------------------

const views = { test: testPart, loop };
let view = testPart;

/** Show another view, each of which keeps its own time. */
function look(name) {
  view = views[name];
  for (const part of document.querySelectorAll("[data-view]")) {
    part.hidden = part.dataset.view !== name;
  }
  $("seek").setAttribute("aria-label", view.label);
  seek(view.now);
}

function seek(seconds) {
  view.now = Math.min(view.duration, Math.max(0, seconds));
  stale = true;
}

function play(on) {
  if (on && view.now >= view.duration) seek(0);
  state.playing = on;
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(on));
  stale = true;
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

  for (const [name, text] of [["test", "true movement"], ["loop", "wanted by the user"]]) {
    const black = element("span");
    black.dataset.view = name;
    black.append(swatch(data.true, []), text);
    $("systems").append(black);
  }
  for (const system of systems) {
    const label = element("label");
    system.box = element("input");
    system.box.type = "checkbox";
    system.box.checked = system.shown;
    system.box.addEventListener("change", () => show(system, system.box.checked));
    label.append(system.box, swatch(system.colour, system.dash), system.label);
    $("systems").append(label);
    $("cards").append(testCard(system));
    if (loop) $("loops").append(loopCard(system));
  }
  for (const cards of [$("cards"), $("loops")]) {
    cards.append(element("p", "No system is shown: choose some above.", "empty"));
  }
  for (const part of document.querySelectorAll(".looped")) part.hidden = !loop;
  table();
  const commits = [...new Set(systems.map(system => system.commit))].join(", ");
  $("made").textContent = `Made by spikereach from results of commit ${commits}.`;
  $("seek").min = 0;
  $("seek").step = dt;
  $("raster").setAttribute("aria-label", `Spikes of ${data.channels} channels over time`);
}

function show(system, on) {
  system.shown = system.box.checked = on;
  for (const each of system.cards) each.hidden = !on;
  if (loop) arrange();
  stale = true;
}

const overview = surface($("overview"));

function draw() {
  view.draw();
  const { g, width, height } = overview, now = (view.now / view.duration) * width;
  clear(overview);
  g.fillStyle = "#eef1f5";
  g.fillRect(0, 0, width, height);
  view.drawOverview(overview);
  g.fillStyle = NOW;
  g.fillRect(Math.min(width - 3, Math.max(0, now - 1.5)), 0, 3, height);
  $("time").textContent = view.time();
  $("seek").max = view.duration;
  $("seek").value = view.now;
  $("seek").setAttribute("aria-valuetext", view.time());
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
  $("view").addEventListener("change", () => look($("view").value));

  const traces = $("traces");
  let dragged = null;
  traces.addEventListener("pointerdown", event => {
    dragged = { x: event.clientX, now: view.now };
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
    ArrowLeft: event => seek(view.now - (event.shiftKey ? 2 : 0.2)),
    ArrowRight: event => seek(view.now + (event.shiftKey ? 2 : 0.2)),
    Home: () => seek(0),
    End: () => seek(view.duration),
    "-": () => move("speed", -1, false),
    "+": () => move("speed", 1, false),
    "=": () => move("speed", 1, false),
    d: () => view === testPart && move("delay", 1, true),
    l: () => loop && move("view", 1, true),
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
    seek(view.now + Math.min(0.25, (stamp - before) / 1000) * state.speed);
    if (view.now >= view.duration) play(false);
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
if (loop) arrange();
testPart.now = Math.min(testPart.duration, state.span);
look("test");
requestAnimationFrame(tick);
