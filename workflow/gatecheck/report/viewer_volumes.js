"use strict";
// The slice viewer's volumes: unpacked from the page, cut into slices, drawn through by lines of equal value.

const NO_VALUE = -32768, NOT_REACHED = -32767; // codes of viewer_volumes.py
const AXIS_NAMES = ["x", "y", "z"];

async function inflated(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpacked({ data, size, step }) {
  const bytes = await inflated(data);
  const slice = size[0] * size[1], count = slice * size[2];
  if (bytes.length !== 2 * count) throw new Error(`${bytes.length} bytes found, ${2 * count} expected`);
  const codes = new Int16Array(count); // adds modulo 2^16
  for (let n = 0; n < count; n++) {
    codes[n] = (bytes[n] | (bytes[count + n] << 8)) + (n < slice ? 0 : codes[n - slice]);
  }
  return { codes, size, step };
}

/** NaN: no value; minus infinity: not reached. */
function valueOf(volume, code) {
  if (code === NO_VALUE) return NaN;
  return code === NOT_REACHED ? -Infinity : code * volume.step;
}

function valueAt(volume, [i, j, k]) {
  return valueOf(volume, volume.codes[i + volume.size[0] * (j + volume.size[1] * k)]);
}

/** Values of one slice, row by row, across and vertical coordinate ascending. */
function sliceOf(volume, [across, vertical, normal], place) {
  const stride = [1, volume.size[0], volume.size[0] * volume.size[1]];
  const width = volume.size[across], height = volume.size[vertical];
  const values = new Float32Array(width * height);
  for (let row = 0; row < height; row++) {
    let from = place * stride[normal] + row * stride[vertical];
    for (let n = row * width; n < (row + 1) * width; n++, from += stride[across]) {
      values[n] = valueOf(volume, volume.codes[from]);
    }
  }
  return { values, width, height };
}

/** Lines of one level through a slice, in voxels from the centre of the first; none where a value is missing. */
function contour({ values, width, height }, level) {
  const next = new Int32Array(4 * width * height).fill(-1); // two neighbours of every edge between voxel centres
  const join = (a, b) => {
    next[2 * a + (next[2 * a] < 0 ? 0 : 1)] = b;
    next[2 * b + (next[2 * b] < 0 ? 0 : 1)] = a;
  };
  for (let row = 0; row < height - 1; row++) {
    for (let column = 0; column < width - 1; column++) {
      const at = row * width + column;
      const a = values[at], b = values[at + 1], c = values[at + width + 1], d = values[at + width];
      const sum = a + b + c + d;
      if (!Number.isFinite(sum)) continue;
      const code = (a >= level) | ((b >= level) << 1) | ((c >= level) << 2) | ((d >= level) << 3);
      if (code === 0 || code === 15) continue;
      const top = 2 * at, left = top + 1, right = left + 2, bottom = top + 2 * width;
      const isMiddleHigh = sum >= 4 * level;
      if (code === 1 || code === 14) join(left, top);
      else if (code === 2 || code === 13) join(top, right);
      else if (code === 4 || code === 11) join(right, bottom);
      else if (code === 7 || code === 8) join(left, bottom);
      else if (code === 3 || code === 12) join(left, right);
      else if (code === 6 || code === 9) join(top, bottom);
      else if ((code === 5) === isMiddleHigh) { join(top, right); join(left, bottom); }
      else { join(left, top); join(right, bottom); }
    }
  }
  return joined(next, values, width, level);
}

function joined(next, values, width, level) {
  const path = new Path2D(), isDone = new Uint8Array(next.length / 2);
  const draw = (edge, isFirst) => {
    const at = edge >> 1, isUpright = edge & 1;
    const a = values[at], b = values[at + (isUpright ? width : 1)];
    const share = (level - a) / (b - a), column = at % width, row = (at - column) / width;
    path[isFirst ? "moveTo" : "lineTo"](column + (isUpright ? 0 : share), row + (isUpright ? share : 0));
  };
  const follow = (first) => {
    let before = -1, edge = first;
    draw(edge, true);
    isDone[edge] = 1;
    for (;;) {
      let after = next[2 * edge] === before ? next[2 * edge + 1] : next[2 * edge];
      if (after >= 0 && isDone[after] && after !== first) after = -1;
      if (after < 0) return;
      if (after === first) { path.closePath(); return; }
      [before, edge] = [edge, after];
      draw(edge, false);
      isDone[edge] = 1;
    }
  };
  for (let edge = 0; edge < isDone.length; edge++) { // open lines from one of their ends first
    if (!isDone[edge] && next[2 * edge] >= 0 && next[2 * edge + 1] < 0) follow(edge);
  }
  for (let edge = 0; edge < isDone.length; edge++) if (!isDone[edge] && next[2 * edge] >= 0) follow(edge);
  return path;
}

const MINUS = "\u2212";
const text = (value, digits) => {
  const written = value.toFixed(digits);
  return (Number(written) === 0 ? (0).toFixed(digits) : written).replace("-", MINUS);
};
const signed = (value, digits) => (Number(value.toFixed(digits)) > 0 ? "+" : "") + text(value, digits);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Place of a value in its table of 256 colours; of gamma the colours jump where it begins to fail. */
function colourOf({ low, high, breaksAt }, value) {
  // A scale that ends before it, or begins beyond it, has one half of the colours alone.
  const share = (from, to) => (to > from ? clamp((value - from) / (to - from), 0, 1) : 1);
  if (breaksAt === null) return Math.min(255, Math.floor(256 * share(low, high)));
  return value <= breaksAt
    ? Math.round(127 * share(low, Math.min(high, breaksAt)))
    : 128 + Math.round(127 * share(Math.max(low, breaksAt), high));
}
