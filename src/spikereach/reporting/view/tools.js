// ---- Data: typed arrays from base64, little-endian -------------------------------------------

const data = JSON.parse(document.getElementById("data").textContent);
const { dt } = data;
const SOFT = "#55606e", RULE = "#e4e8ed", EDGE = "#9aa5b1", NOW = "#0b57a4";

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

/** Channels of every step in turn, a bit each, from the ways between spikes; 255: and none there. */
function unpackSpikes({ channels, spikes }, steps) {
  const stride = Math.ceil(channels / 8), bits = new Uint8Array(steps * stride);
  let at = -1;
  for (const way of bytes(spikes)) {
    at += way;
    const channel = at % channels;
    if (way < 255) bits[Math.floor(at / channels) * stride + (channel >> 3)] |= 128 >> channel % 8;
  }
  return { channels, bits, stride };
}

const names = data.systems.map(system => system.system);
const systems = data.systems.map((system, index) => {
  const before = names.slice(0, index).filter(name => name === system.system).length;
  const dash = [[], [7, 3], [3, 3], [1, 3]][before % 4];
  return { ...system, dash, shown: index < 4, cards: [] };
});

const $ = id => document.getElementById(id);
const state = { playing: false, speed: 1, span: 5, anchor: 2, delay: "none" };
let stale = true;

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

function picture(label) {
  const made = element("canvas");
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", label);
  return made;
}

/** What is shown of one system: its name, something beside it, pictures, and figures. */
function card(system, beside, pictures, rows) {
  const made = element("article", undefined, "card");
  made.style.setProperty("--system", system.colour);
  const head = element("header");
  head.append(element("h2", system.label), beside);
  const list = element("dl");
  for (const [name, value] of rows) {
    list.append(element("dt", name), value instanceof Node ? value : element("dd", value));
  }
  made.append(head, ...pictures, list);
  made.hidden = !system.shown;
  system.cards.push(made);
  return made;
}

// ---- Drawing ---------------------------------------------------------------------------------

const LEFT = 58, RIGHT = 12, TOP = 8;

/** A canvas with its drawing context in CSS pixels; frames leave so much room on the left. */
function surface(canvas, left = LEFT) {
  const made = { canvas, left, g: canvas.getContext("2d"), width: 0, height: 0, ratio: 1 };
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

function frame(panel, bottom, label) {
  const { g, left, width, height } = panel;
  g.strokeStyle = EDGE;
  g.lineWidth = 1;
  g.strokeRect(left - 0.5, TOP - 0.5, width - left - RIGHT + 1, height - TOP - bottom + 1);
  g.save();
  g.fillStyle = SOFT;
  g.textAlign = "center";
  g.translate(13, (TOP + height - bottom) / 2);
  g.rotate(-Math.PI / 2);
  g.fillText(label, 0, 0);
  g.restore();
}

function tickLabels({ g, left }, at) {
  g.fillStyle = SOFT;
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const [y, text] of at) g.fillText(text, left - 6, y);
  g.textBaseline = "alphabetic";
}

/** Every spike one mark; where several steps share a pixel, marks add up to darker ones.
    The window begins at a step, whole or not, and is drawn up to a whole one. */
function drawRaster(panel, { channels, bits: fired, stride }, begin, last, span) {
  const { g, left, width, height, ratio } = panel;
  clear(panel);
  const bottom = 4, inner = width - left - RIGHT, tall = height - TOP - bottom;
  if (inner < 10) return;
  const wide = Math.round(inner * ratio), high = Math.round(tall * ratio);
  const image = g.createImageData(wide, high);
  const ink = new Uint8ClampedArray(wide * high);
  const perStep = wide / span;
  const strength = perStep >= 1 ? 255 : Math.max(70, 255 * Math.sqrt(perStep));
  const row = high / channels;
  const thick = Math.max(1, Math.floor(row * 0.8)), broad = Math.max(1, Math.floor(perStep));
  // Whole pixels of the recording, not of the window, so that marks do not flicker in scrolling.
  const offset = Math.floor(begin * perStep);
  for (let step = Math.ceil(begin); step <= last; step++) {
    const x = Math.floor(step * perStep) - offset;
    for (let byte = 0; byte < stride; byte++) {
      let bits = fired[step * stride + byte];
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
  g.putImageData(image, Math.round(left * ratio), Math.round(TOP * ratio));
  frame(panel, bottom, "Channel");
  const marks = ticks(0, channels, 5).filter(value => value >= 1 && value <= channels);
  tickLabels(panel, [1, ...marks].map(value =>
    [TOP + tall * (1 - (value - 0.5) / channels), String(value)]));
}

/** A line at a part of the window's width. */
function drawNow({ g, left, width, height }, part, bottom) {
  const x = left + part * (width - left - RIGHT);
  stroke(g, NOW, 1.5, [], () => {
    g.moveTo(x, TOP);
    g.lineTo(x, height - bottom);
  });
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

/** Axes of a square look at positions: where these lie on the canvas, if it has any room. */
function plane({ g, width, height }, [[x0, x1], [y0, y1]], unit) {
  const left = 32, bottom = 28, inner = width - left - 6, tall = height - bottom - 6;
  if (inner < 10) return null;
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
  const edge = out => [left - out, 6 - out, inner + 2 * out, tall + 2 * out];
  return {
    x, y,
    clip() {
      g.beginPath();
      g.rect(...edge(0));
      g.clip();
    },
    frame() {
      g.strokeStyle = EDGE;
      g.strokeRect(...edge(0.5));
    },
  };
}
