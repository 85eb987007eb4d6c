"use strict";
const element = (id) => document.getElementById(id);
const view = JSON.parse(element("case").textContent);
element("case").remove();
const canvas = element("slice");
const context = canvas.getContext("2d");

const state = {
  plane: 0,
  indices: view.planes.map((plane) => plane.index),  // in voxels of the data, like all positions
  map: view.maps.length ? 0 : -1,
  opacity: view.opacity,
  fullRange: false,
  outlines: {prediction: true, reference: true},
  hiddenLabels: new Set(),
  window: [...view.windows[0].limits],
  point: null,  // [z, y, x] of the voxel whose values are shown
  marked: false,  // whether the point is drawn, because no mouse pointer marks it
};

// ---------------------------------------------------------------- volumes

async function unpack(volume) {
  const text = atob(volume.bytes);
  const packed = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  volume.data = new Uint8Array(await new Response(stream).arrayBuffer());
  delete volume.bytes;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const currentPlane = () => view.planes[state.plane];
const axesOf = (plane) => [0, 1, 2].filter((axis) => axis !== plane.axis);
const blockOf = (volume, axis, voxel) =>
  Math.min(Math.floor(voxel / volume.factors[axis]), volume.shape[axis] - 1);

// The bytes of a slice, rows from the top of the screen.
function cut(volume, plane, voxel) {
  const [rowAxis, columnAxis] = axesOf(plane);
  const {shape, channels, data} = volume;
  const strides = [shape[1] * shape[2], shape[2], 1];
  const rows = shape[rowAxis], columns = shape[columnAxis];
  const start = blockOf(volume, plane.axis, voxel) * strides[plane.axis];
  const bytes = new Uint8Array(rows * columns * channels);
  for (let row = 0, to = 0; row < rows; row++) {
    const fromRow = plane.head_up ? rows - 1 - row : row;
    for (let column = 0; column < columns; column++) {
      const from = (start + fromRow * strides[rowAxis] + column * strides[columnAxis]) * channels;
      for (let channel = 0; channel < channels; channel++) bytes[to++] = data[from + channel];
    }
  }
  return {bytes, rows, columns, channels};
}

function valuesAt(volume, point) {
  const [z, y, x] = point.map((voxel, axis) => blockOf(volume, axis, voxel));
  const at = ((z * volume.shape[1] + y) * volume.shape[2] + x) * volume.channels;
  return Array.from(volume.data.subarray(at, at + volume.channels), (byte) => volume.levels[byte]);
}

// ---------------------------------------------------------------- drawing

// Where a volume's blocks lie on the canvas; the last block may reach beyond the image.
function placement(volume) {
  const plane = currentPlane();
  const [rowAxis, columnAxis] = axesOf(plane);
  const blockHeight = canvas.height / view.shape[rowAxis] * volume.factors[rowAxis];
  const blockWidth = canvas.width / view.shape[columnAxis] * volume.factors[columnAxis];
  const height = blockHeight * volume.shape[rowAxis];
  return {
    top: plane.head_up ? canvas.height - height : 0,
    width: blockWidth * volume.shape[columnAxis], height, blockWidth, blockHeight,
  };
}

const scaleOf = (map) => state.fullRange ? [0, 1] : map.limits;

// From 0 to 1 between the limits, for each byte that a volume can hold.
const relative = (levels, [low, high]) =>
  levels.map((level) => clamp((level - low) / Math.max(high - low, 1e-12), 0, 1));

function paint(volume, coloursOfByte, opacity) {
  const slice = cut(volume, currentPlane(), state.indices[state.plane]);
  const picture = new ImageData(slice.columns, slice.rows);
  for (let pixel = 0; pixel < slice.rows * slice.columns; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      const byte = slice.bytes[pixel * slice.channels + (slice.channels === 3 ? channel : 0)];
      picture.data[pixel * 4 + channel] = coloursOfByte[byte][channel];
    }
    picture.data[pixel * 4 + 3] = 255;
  }
  const sheet = document.createElement("canvas");
  sheet.width = slice.columns;
  sheet.height = slice.rows;
  sheet.getContext("2d").putImageData(picture, 0, 0);
  const {top, width, height} = placement(volume);
  context.globalAlpha = opacity;
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "medium";
  context.drawImage(sheet, 0, top, width, height);
  context.globalAlpha = 1;
}

const greys = () => relative(view.image.levels, state.window).map((share) => Array(3).fill(share * 255));
const mapColours = (map) =>
  relative(map.levels, scaleOf(map)).map((share) => view.colours[Math.round(share * 255)]);

// Loops around the pixels of a mask; a corner is row * (columns + 1) + column.
function loopsAround(mask, rows, columns) {
  const across = columns + 1;
  const inside = (row, column) =>
    row >= 0 && row < rows && column >= 0 && column < columns && mask[row * columns + column];
  const next = new Map();  // from corner to corners, the mask on the right
  const add = (from, to) => next.has(from) ? next.get(from).push(to) : next.set(from, [to]);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (!mask[row * columns + column]) continue;
      const corner = row * across + column;
      if (!inside(row - 1, column)) add(corner, corner + 1);
      if (!inside(row, column + 1)) add(corner + 1, corner + 1 + across);
      if (!inside(row + 1, column)) add(corner + 1 + across, corner + across);
      if (!inside(row, column - 1)) add(corner + across, corner);
    }
  }
  const loops = [];
  for (const start of next.keys()) {
    while (next.get(start).length) {
      const loop = [start];
      for (let corner = next.get(start).pop(); corner !== start; corner = next.get(corner).pop()) {
        loop.push(corner);
      }
      loops.push(loop);
    }
  }
  return loops;
}

// Through the middles of the pixels' sides, which rounds the stairs.
function outline(volume, slice, isWanted) {
  const mask = slice.bytes.map((byte) => isWanted[byte] ? 1 : 0);
  const {top, blockWidth, blockHeight} = placement(volume);
  const across = slice.columns + 1;
  const place = (corner) => [corner % across * blockWidth, top + Math.floor(corner / across) * blockHeight];
  const path = new Path2D();
  for (const loop of loopsAround(mask, slice.rows, slice.columns)) {
    loop.forEach((corner, number) => {
      const [x, y] = place(corner), [nextX, nextY] = place(loop[(number + 1) % loop.length]);
      const middle = [(x + nextX) / 2, (y + nextY) / 2];
      if (number) path.lineTo(...middle); else path.moveTo(...middle);
    });
    path.closePath();
  }
  return path;
}

function outlinesOf(volume) {
  const slice = cut(volume, currentPlane(), state.indices[state.plane]);
  const present = new Set(slice.bytes);
  const outlines = [];
  for (const label of view.labels) {
    const isWanted = volume.levels.map((value, byte) => present.has(byte) && label.values.includes(value));
    if (state.hiddenLabels.has(label.name) || !isWanted.includes(true)) continue;
    outlines.push({path: outline(volume, slice, isWanted), colour: label.colour});
  }
  return outlines;
}

function drawOutlines() {
  const unit = Math.max(1, window.devicePixelRatio);
  context.lineJoin = "round";
  for (const [kind, dashes] of [["prediction", []], ["reference", [7 * unit, 5 * unit]]]) {
    if (!view[kind] || !state.outlines[kind]) continue;
    const outlines = outlinesOf(view[kind]);
    context.setLineDash(dashes);
    // Dark edges below all colours, so that neighbours do not hide each other.
    for (const {path} of outlines) stroke(path, "rgba(0, 0, 0, 0.6)", 4 * unit);
    for (const {path, colour} of outlines) stroke(path, colour, 2.2 * unit);
  }
  context.setLineDash([]);
}

function stroke(path, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
}

function drawPoint() {
  if (!state.point || !state.marked) return;
  const plane = currentPlane();
  const [rowAxis, columnAxis] = axesOf(plane);
  const row = plane.head_up ? view.shape[rowAxis] - 1 - state.point[rowAxis] : state.point[rowAxis];
  const x = (state.point[columnAxis] + 0.5) / view.shape[columnAxis] * canvas.width;
  const y = (row + 0.5) / view.shape[rowAxis] * canvas.height;
  const size = 9 * window.devicePixelRatio, gap = size / 3;
  const path = new Path2D();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    path.moveTo(x + dx * gap, y + dy * gap);
    path.lineTo(x + dx * size, y + dy * size);
  }
  stroke(path, "#000", 4 * window.devicePixelRatio);
  stroke(path, "#fff", 2 * window.devicePixelRatio);
}

function fit() {
  const plane = currentPlane();
  const [height_mm, width_mm] = axesOf(plane).map((axis) => view.shape[axis] * view.spacing_mm[axis]);
  const holder = element("holder");
  const narrow = matchMedia("(max-width: 760px)").matches;
  const room = narrow ? document.documentElement.clientHeight * 0.45 : holder.clientHeight;
  const scale = Math.min(holder.clientWidth / width_mm, room / height_mm);
  const [width, height] = [width_mm, height_mm].map((mm) => Math.max(1, Math.floor(mm * scale)));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * window.devicePixelRatio);
  canvas.height = Math.round(height * window.devicePixelRatio);
}

// ---------------------------------------------------------------- words and numbers

function digitsFor([low, high]) {
  const range = high - low;
  return range > 0 ? clamp(2 - Math.floor(Math.log10(range)), 0, 6) : 2;
}
const numeral = (value, digits) => value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
const intensityDigits = digitsFor([view.image.levels[0], view.image.levels.at(-1)]);

function labelNames(volume) {
  const [value] = valuesAt(volume, state.point);
  const names = view.labels.filter((label) => label.values.includes(value)).map((label) => label.name);
  return names.join(", ") || (value ? String(value) : "none");
}

function describe() {
  const plane = currentPlane(), index = state.indices[state.plane], count = view.shape[plane.axis];
  const map = view.maps[state.map];
  const flat = view.shape[0] === 1;
  element("slice-name").textContent = `${plane.name}, slice ${index + 1} of ${count}`;
  const where = flat ? "image" : `${plane.name} slice ${index + 1} of ${count}`;
  canvas.setAttribute("aria-label", `${where}, ${map ? `attention map ${map.name}` : "no map"}`);
  element("scale").style.visibility = map ? "visible" : "hidden";
  const values = state.point && view.maps.map((one) => valuesAt(one, state.point)[0]);
  document.querySelectorAll("#maps output").forEach((output, number) => {
    output.textContent = values ? numeral(values[number], 3) : "";
  });
  element("pointer").hidden = !(map && values);
  if (map) {
    const [low, high] = scaleOf(map);
    const digits = clamp(1 - Math.floor(Math.log10(high - low) + 1e-3), 2, 6);
    element("scale-name").textContent = `${map.name}, coefficient`;
    [["low", low], ["middle", (low + high) / 2], ["high", high]].forEach(([id, value]) => {
      element(id).textContent = numeral(value, digits);
    });
    if (values) {
      element("pointer").style.left = `${100 * relative([values[state.map]], [low, high])[0]}%`;
    }
  }
  const facts = [];
  if (state.point) {
    const names = ["z", "y", "x"].slice(flat ? 1 : 0);
    const places = state.point.slice(flat ? 1 : 0).map((voxel, axis) => `${names[axis]} ${voxel}`);
    facts.push(["voxel", places.join(" ")]);
    const intensity = valuesAt(view.image, state.point);
    facts.push(["intensity", intensity.map((value) => numeral(value, intensityDigits)).join(" ")]);
    facts.push(["prediction", labelNames(view.prediction)]);
    if (view.reference) facts.push(["reference", labelNames(view.reference)]);
    if (map) facts.push(["coefficient", numeral(values[state.map], 3)]);
  } else {
    facts.push(["", "Point at the image to read its values."]);
  }
  element("readout").replaceChildren(...facts.map(([name, text]) => {
    const fact = document.createElement("span");
    fact.dataset.name = name;
    const title = document.createElement("b");
    title.textContent = name;
    fact.append(...(name ? [title] : []), text);
    return fact;
  }));
}

function describeControls() {
  const [low, high] = state.window;
  const show = (id, value, text) => {
    element(id).value = value;
    element(id).parentElement.querySelector("output").textContent = text;
  };
  show("level", (low + high) / 2, numeral((low + high) / 2, intensityDigits));
  show("width", high - low, numeral(high - low, intensityDigits));
  show("opacity", state.opacity * 100, `${Math.round(state.opacity * 100)} %`);
  const chosen = view.windows.findIndex(({limits}) => limits.every((limit, end) => limit === state.window[end]));
  element("window").value = String(chosen);
  element("index").max = view.shape[currentPlane().axis] - 1;
  element("index").value = state.indices[state.plane];
  element("prediction").checked = state.outlines.prediction;
  element("reference").checked = state.outlines.reference;
  document.querySelector(`input[name=plane][value="${state.plane}"]`).checked = true;
  document.querySelector(`input[name=map][value="${state.map}"]`).checked = true;
}

let awaited = false;
function refresh() {
  if (awaited) return;
  awaited = true;
  requestAnimationFrame(() => {
    awaited = false;
    fit();
    paint(view.image, greys(), 1);
    if (state.map >= 0) paint(view.maps[state.map], mapColours(view.maps[state.map]), state.opacity);
    drawOutlines();
    drawPoint();
    describe();
    describeControls();
  });
}

// ---------------------------------------------------------------- user input

function showSlice(index) {
  const plane = currentPlane();
  state.indices[state.plane] = clamp(index, 0, view.shape[plane.axis] - 1);
  if (state.point) state.point[plane.axis] = state.indices[state.plane];
  refresh();
}

// Slices of one block are alike: a step goes to the next block.
function step(steps) {
  const axis = currentPlane().axis, factor = view.image.factors[axis];
  const block = blockOf(view.image, axis, state.indices[state.plane]) + steps;
  showSlice(clamp(block, 0, view.image.shape[axis] - 1) * factor + Math.floor(factor / 2));
}

function showPlane(number) {
  if (number < 0 || number >= view.planes.length) return;
  state.plane = number;
  if (state.point) state.point[currentPlane().axis] = state.indices[number];
  refresh();
}

function showMap(number) {
  if (number >= view.maps.length) return;
  state.map = number;
  drawBar();
  refresh();
}

function setWindow(level, width) {
  const all = view.image.levels.at(-1) - view.image.levels[0];
  const half = Math.max(width, all / 1000, 1e-9) / 2;
  state.window = [level - half, level + half];
  refresh();
}

function voxelAt(event) {
  const plane = currentPlane();
  const [rowAxis, columnAxis] = axesOf(plane);
  const box = canvas.getBoundingClientRect();
  const row = Math.floor((event.clientY - box.top) / box.height * view.shape[rowAxis]);
  const column = Math.floor((event.clientX - box.left) / box.width * view.shape[columnAxis]);
  const voxel = [0, 0, 0];
  voxel[plane.axis] = state.indices[state.plane];
  voxel[rowAxis] = clamp(plane.head_up ? view.shape[rowAxis] - 1 - row : row, 0, view.shape[rowAxis] - 1);
  voxel[columnAxis] = clamp(column, 0, view.shape[columnAxis] - 1);
  return voxel;
}

function movePoint(rows, columns) {
  const plane = currentPlane();
  const [rowAxis, columnAxis] = axesOf(plane);
  state.point ??= view.shape.map((count, axis) =>
    axis === plane.axis ? state.indices[state.plane] : Math.floor(count / 2));
  state.point[rowAxis] = clamp(
    state.point[rowAxis] + (plane.head_up ? -rows : rows), 0, view.shape[rowAxis] - 1);
  state.point[columnAxis] = clamp(state.point[columnAxis] + columns, 0, view.shape[columnAxis] - 1);
  state.marked = true;
  refresh();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  // There these keys have their usual meaning.
  const taken = target.matches("select, summary") ? /./
    : target.matches("input[type=range], input[type=radio]") ? /^(Arrow|Page|Home|End)/ : null;
  if (taken?.test(event.key)) return;
  const arrows = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  const steps = {ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10};
  const planeKeys = view.planes.map((plane) => plane.name[0]);
  const key = event.key;
  if (event.shiftKey && key in arrows) movePoint(...arrows[key]);
  else if (key in steps) step(steps[key]);
  else if (key === "Home") showSlice(0);
  else if (key === "End") showSlice(Infinity);
  else if (/^\d$/.test(key)) showMap(Number(key) - 1);
  else if (key === "+" || key === "=") setOpacity(state.opacity + 0.05);
  else if (key === "-") setOpacity(state.opacity - 0.05);
  else if (planeKeys.includes(key)) showPlane(planeKeys.indexOf(key));
  else if (key === "p" || key === "r") toggle(key === "p" ? "prediction" : "reference");
  else return;
  event.preventDefault();
}

function setOpacity(opacity) {
  state.opacity = clamp(opacity, 0, 1);
  refresh();
}

function toggle(kind) {
  state.outlines[kind] = !state.outlines[kind];
  refresh();
}

let rolled = 0;
function rolledWheel(event) {
  if (event.ctrlKey) return;  // the browser's zoom
  event.preventDefault();
  // One step for a notch of a wheel; a touch pad sends many small parts of one.
  rolled += event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : 50);
  if (Math.abs(rolled) < 50) return;
  step(Math.sign(rolled));
  rolled = 0;
}

let drag = null;
function pointed(event) {
  if (drag && event.pointerType === "mouse") {
    const range = view.image.levels.at(-1) - view.image.levels[0];
    const unit = Math.min(range, 2 * (drag.high - drag.low)) / canvas.clientWidth;
    setWindow(
      (drag.low + drag.high) / 2 + (event.clientY - drag.y) * unit,
      drag.high - drag.low + (event.clientX - drag.x) * unit);
    return;
  }
  state.point = voxelAt(event);
  state.marked = event.pointerType !== "mouse";
  refresh();
}

// ---------------------------------------------------------------- controls

function choice(type, name, value, text, ...before) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), {type, name, value});
  const title = Object.assign(document.createElement("span"), {className: "text", textContent: text});
  label.append(input, ...before, title);
  return label;
}

function drawBar() {
  const bar = document.querySelector("#bar canvas").getContext("2d");
  const picture = new ImageData(256, 1);
  view.colours.forEach((colour, at) => picture.data.set([...colour, 255], at * 4));
  bar.putImageData(picture, 0, 0);
}

function build() {
  element("plane-box").hidden = element("slices").hidden = view.planes.length === 1;
  element("planes").append(...view.planes.map((plane, number) => choice("radio", "plane", number, plane.name)));
  element("map-box").hidden = view.maps.length === 0;
  const choices = view.maps.map((map, number) => {
    const label = choice("radio", "map", number, map.name);
    label.append(document.createElement("output"));
    return label;
  });
  element("maps").append(choice("radio", "map", -1, "none"), ...choices);
  element("labels").append(...view.labels.map(({name, colour}) => {
    const swatch = Object.assign(document.createElement("span"), {className: "swatch"});
    swatch.style.borderColor = colour;
    swatch.style.background = `${colour}66`;
    const label = choice("checkbox", "label", name, name, swatch);
    label.firstChild.checked = true;
    return label;
  }));
  element("reference-box").hidden = !view.reference;
  element("window").append(...view.windows.map(({name}, number) => new Option(name, number)), new Option("set by hand", -1));
  const low = view.image.levels[0], high = view.image.levels.at(-1), range = high - low || 1;
  Object.assign(element("level"), {min: low, max: high, step: range / 1000});
  Object.assign(element("width"), {min: range / 1000, max: range, step: range / 1000});
  element("note").textContent = view.note;
  const {shape, spacing_mm} = view;
  const size = shape[0] === 1
    ? `${shape[1]} x ${shape[2]} pixels`
    : `${shape.join(" x ")} voxels of ${spacing_mm.map((mm) => Number(mm.toFixed(2))).join(" x ")} mm (z, y, x)`;
  element("reading").textContent = view.maps.length ? view.reading : "";
  element("verdicts").append(...view.verdicts.map((sentence) => {
    const item = document.createElement("li");
    item.textContent = sentence;
    return item;
  }));
  element("what").textContent = view.note ? `${size}, shown coarser` : size;
}

function listen() {
  element("planes").addEventListener("change", (event) => showPlane(Number(event.target.value)));
  element("maps").addEventListener("change", (event) => showMap(Number(event.target.value)));
  element("labels").addEventListener("change", ({target}) => {
    if (target.checked) state.hiddenLabels.delete(target.value); else state.hiddenLabels.add(target.value);
    refresh();
  });
  element("index").addEventListener("input", (event) => showSlice(Number(event.target.value)));
  element("opacity").addEventListener("input", (event) => setOpacity(event.target.value / 100));
  element("full-range").addEventListener("change", (event) => { state.fullRange = event.target.checked; refresh(); });
  for (const kind of ["prediction", "reference"]) element(kind).addEventListener("change", () => toggle(kind));
  element("window").addEventListener("change", (event) => {
    const chosen = view.windows[Number(event.target.value)];
    if (chosen) state.window = [...chosen.limits];
    refresh();
  });
  for (const id of ["level", "width"]) {
    element(id).addEventListener("input", () => setWindow(Number(element("level").value), Number(element("width").value)));
  }
  document.addEventListener("keydown", pressed);
  canvas.addEventListener("wheel", rolledWheel, {passive: false});
  canvas.addEventListener("pointermove", pointed);
  canvas.addEventListener("pointerdown", (event) => {
    const [low, high] = state.window;
    if (event.button === 0) drag = {x: event.clientX, y: event.clientY, low, high};
    canvas.setPointerCapture(event.pointerId);
    if (event.pointerType !== "mouse") pointed(event);
  });
  canvas.addEventListener("pointerup", () => { drag = null; });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("dblclick", () => { state.window = [...view.windows[0].limits]; refresh(); });
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "mouse" || state.marked) return;
    state.point = null;
    refresh();
  });
  new ResizeObserver(refresh).observe(element("holder"));
  window.addEventListener("resize", refresh);
}

async function begin() {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser is too old to unpack the volumes; use one from 2023 or later");
  }
  await Promise.all([view.image, view.prediction, view.reference, ...view.maps].filter(Boolean).map(unpack));
  build();
  drawBar();
  listen();
  refresh();
  requestAnimationFrame(() => { document.body.dataset.state = "ready"; });
}

begin().catch((error) => {
  element("failure").hidden = false;
  element("failure").textContent = `This page cannot show its slices: ${error.message}.`;
  throw error;
});
