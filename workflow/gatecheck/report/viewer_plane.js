// One plane of the slice viewer: what is drawn on it, and what mouse, keys and fingers do there.

const NEW_GESTURE = 400; // ms without a turn of the wheel
const AMBER = "#ffd479"; // directions, told from the letters of structures
const SCALE_BARS = [1, 2, 5, 10, 20, 50, 100];

class PlaneView {
  constructor(viewer, plane, number) {
    Object.assign(this, { viewer, plane });
    this.screen = root.querySelector(`[data-plane="${number}"]`);
    this.canvas = this.screen.querySelector("canvas");
    this.slider = root.querySelector(`[data-slider="${number}"]`);
    this.output = root.querySelector(`[data-position="${number}"]`);
    this.kept = new Map(); // lines of the slice that is shown
    this.pointers = new Map();
    this.slider.max = String(viewer.grid.size[this.normal] - 1);
    this.slider.addEventListener("input", () => viewer.moveTo(this.normal, Number(this.slider.value)));
    this.screen.addEventListener("keydown", (event) => this.key(event));
    this.screen.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const kind of ["down", "move", "up", "cancel"]) {
      this.screen.addEventListener(`pointer${kind}`, (event) => this[`pointer${kind}`](event));
    }
  }

  get across() { return this.plane.axes[0]; }
  get vertical() { return this.plane.axes[1]; }
  get normal() { return this.plane.axes[2]; }

  // mm to pixels of the canvas, and back
  toX(x) { return ((x - this.viewer.centre[this.across]) / this.viewer.side + 0.5) * this.canvas.width; }
  toY(y) {
    const share = (y - this.viewer.centre[this.vertical]) / this.viewer.side;
    return (this.plane.isDown ? 0.5 + share : 0.5 - share) * this.canvas.height;
  }
  pointOf(event) {
    const box = this.canvas.getBoundingClientRect(), { centre, side } = this.viewer;
    const right = (event.clientX - box.left) / box.width - 0.5, down = (event.clientY - box.top) / box.height - 0.5;
    return {
      [this.across]: centre[this.across] + right * side,
      [this.vertical]: centre[this.vertical] + (this.plane.isDown ? down : -down) * side,
    };
  }

  draw() {
    const { viewer, canvas } = this, context = canvas.getContext("2d");
    const pixels = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
    if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
    const place = viewer.index[this.normal];
    if (this.place !== place) this.kept.clear();
    this.place = place;
    context.resetTransform();
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    this.drawCt(context);
    this.drawLayer(context);
    const scale = pixels / 400; // of lines and letters, which are designed for 400 pixels
    const line = clamp(scale, 1, 3);
    this.drawIsodoses(context, line);
    if (viewer.shown.structures) this.drawStructures(context, line);
    if (viewer.shown.cross) this.drawCross(context, line);
    this.drawWords(context);
    this.say();
  }

  /** A slice as an image whose rows run as on the screen. */
  imageOf({ values, width, height }, paint) {
    const image = document.createElement("canvas");
    [image.width, image.height] = [width, height];
    const context = image.getContext("2d"), pixels = context.createImageData(width, height);
    for (let row = 0; row < height; row++) {
      const from = (this.plane.isDown ? row : height - 1 - row) * width;
      for (let column = 0; column < width; column++) {
        paint(pixels.data, 4 * (row * width + column), values[from + column], from + column);
      }
    }
    context.putImageData(pixels, 0, 0);
    return image;
  }

  /** Lays an image on the voxels that it is of. */
  lay(context, image, isSmooth) {
    const { origin, spacing, size } = this.viewer.grid, edges = (axis) => [
      origin[axis] - spacing[axis] / 2, origin[axis] + (size[axis] - 0.5) * spacing[axis],
    ];
    const [left, right] = edges(this.across).map((x) => this.toX(x));
    const [top, bottom] = edges(this.vertical).map((y) => this.toY(y)).sort((a, b) => a - b);
    context.imageSmoothingEnabled = isSmooth;
    context.imageSmoothingQuality = "high";
    context.drawImage(image, left, top, right - left, bottom - top);
  }

  keep(key, make) {
    if (!this.kept.has(key)) this.kept.set(key, make());
    return this.kept.get(key);
  }

  drawCt(context) {
    const { viewer } = this, [level, width] = viewer.content.window;
    const image = this.keep("ct", () => this.imageOf(sliceOf(viewer.volumes.ct, this.plane.axes, this.place), (data, n, hu) => {
      data[n] = data[n + 1] = data[n + 2] = Number.isNaN(hu) ? 0 : (255 * (hu - level + width / 2)) / width;
      data[n + 3] = 255;
    }));
    this.lay(context, image, true);
  }

  drawLayer(context) {
    const { viewer } = this, { layer, doseHiddenBelow } = viewer, axes = this.plane.axes;
    const table = viewer.colours[layer.colours];
    const slice = viewer.layerSlice(layer, axes, this.place);
    const doses = ["mc", "tps"].filter((name) => viewer.volumes[name]).map((name) => (
      this.keep(`values ${name}`, () => sliceOf(viewer.volumes[name], axes, this.place))
    ));
    const isDoseHidden = (n) => doseHiddenBelow > 0 && !doses.some(({ values }) => values[n] >= doseHiddenBelow);
    const image = this.imageOf(slice, (data, n, value, from) => {
      if (Number.isNaN(value) || isDoseHidden(from)) return;
      data[n + 3] = 255 * layer.opacity;
      if (value === -Infinity) { // not reached: black and white in turn
        const column = from % slice.width, row = (from - column) / slice.width;
        data[n] = data[n + 1] = data[n + 2] = (column + row) % 2 ? 255 : 0;
        data[n + 3] = 255;
      } else if (Math.abs(value) < layer.hiddenBelow) {
        data[n + 3] = 0;
      } else {
        const colour = 3 * colourOf(layer, value);
        for (let part = 0; part < 3; part++) data[n + part] = table[colour + part];
      }
    });
    this.lay(context, image, false);
  }

  /** Lines in voxels as lines in pixels; `start` is the voxel that they are counted from. */
  placed(path, start = [0, 0, 0]) {
    const { origin, spacing } = this.viewer.grid, { width } = this.canvas, perMm = width / this.viewer.side;
    const first = (axis) => origin[axis] + start[axis] * spacing[axis];
    const down = this.plane.isDown ? 1 : -1, moved = new Path2D();
    moved.addPath(path, new DOMMatrix([
      perMm * spacing[this.across], 0, 0, down * perMm * spacing[this.vertical],
      this.toX(first(this.across)), this.toY(first(this.vertical)),
    ]));
    return moved;
  }

  stroke(context, path, colour, width, dashes, casing = "rgb(0 0 0 / 60%)") {
    context.lineJoin = "round";
    context.setLineDash([]);
    if (!dashes.length) {
      [context.strokeStyle, context.lineWidth] = [casing, width + 1.6];
      context.stroke(path);
    }
    context.setLineDash(dashes);
    if (dashes.length) {
      [context.strokeStyle, context.lineWidth] = [casing, width + 1.6];
      context.stroke(path);
    }
    [context.strokeStyle, context.lineWidth] = [colour, width];
    context.stroke(path);
    context.setLineDash([]);
  }

  drawIsodoses(context, line) {
    const { viewer } = this;
    for (const name of ["tps", "mc"]) {
      if (!viewer.shown[name] || !viewer.volumes[name]) continue;
      for (const { gray, percent, colour } of viewer.content.isodoses) {
        const path = this.keep(`${name} ${percent}`, () => {
          const slice = this.keep(`values ${name}`, () => sliceOf(viewer.volumes[name], this.plane.axes, this.place));
          return slice.values.some((value) => value >= gray) ? contour(slice, gray) : new Path2D();
        });
        this.stroke(context, this.placed(path), colour, 1.3 * line, name === "tps" ? [5 * line, 4 * line] : []);
      }
    }
  }

  drawStructures(context, line) {
    this.viewer.structures.forEach((one, n) => {
      if (!one.isShown || !one.mask) return;
      const own = this.place - one.start[this.normal];
      if (own < 0 || own >= one.mask.size[this.normal]) return;
      const slice = this.keep(`mask ${n}`, () => sliceOf(one.mask, this.plane.axes, own));
      const path = this.placed(this.keep(`structure ${n}`, () => contour(slice, 0.5)), one.start);
      this.stroke(context, path, "#fff", 1.3 * line, one.dashes.map((length) => length * 1.4 * line));
      this.drawLetter(context, one, this.keep(`edge ${n}`, () => edgeOf(slice)), 30 + 60 * n, line);
    });
  }

  /** On the part of an outline that is in view and lies farthest in a direction (degrees from right over up). */
  drawLetter(context, { letter, start }, edge, degrees, line) {
    const { origin, spacing } = this.viewer.grid, { width, height } = this.canvas;
    const margin = 0.07 * width, foot = 0.12 * height; // scale bar and stamp are at the foot
    const right = Math.cos((degrees * Math.PI) / 180), down = -Math.sin((degrees * Math.PI) / 180);
    let best = null;
    for (const [column, row] of edge) {
      const x = this.toX(origin[this.across] + (start[this.across] + column) * spacing[this.across]);
      const y = this.toY(origin[this.vertical] + (start[this.vertical] + row) * spacing[this.vertical]);
      if (x < margin || x > width - margin || y < margin || y > height - foot) continue;
      const reach = x * right + y * down;
      if (!best || reach > best.reach) best = { x, y, reach };
    }
    if (best) this.write(context, letter, best.x + 9 * line * right, best.y + 9 * line * down, 12, "center", "middle");
  }

  drawCross(context, line) {
    const { viewer, canvas } = this, x = this.toX(viewer.position(this.across)), y = this.toY(viewer.position(this.vertical));
    const gap = 7 * line, path = new Path2D();
    for (const [from, to] of [[0, x - gap], [x + gap, canvas.width]]) { path.moveTo(from, y); path.lineTo(to, y); }
    for (const [from, to] of [[0, y - gap], [y + gap, canvas.height]]) { path.moveTo(x, from); path.lineTo(x, to); }
    this.stroke(context, path, "rgb(255 255 255 / 85%)", line, []);
  }

  write(context, words, x, y, size, across, vertical, colour = "#fff") {
    context.font = `bold ${size * devicePixelRatio}px system-ui, "DejaVu Sans", sans-serif`;
    [context.textAlign, context.textBaseline] = [across, vertical];
    [context.strokeStyle, context.lineWidth, context.lineJoin] = ["#000", 3 * devicePixelRatio, "round"];
    context.strokeText(words, x, y);
    context.fillStyle = colour;
    context.fillText(words, x, y);
  }

  drawWords(context) {
    const { canvas, plane, viewer } = this, w = canvas.width, h = canvas.height, edge = 6 * devicePixelRatio;
    const [left, right, top, bottom] = plane.labels;
    this.write(context, left, edge, h / 2, 14, "left", "middle", AMBER);
    this.write(context, right, w - edge, h / 2, 14, "right", "middle", AMBER);
    this.write(context, top, w / 2, edge, 14, "center", "top", AMBER);
    this.write(context, bottom, w / 2, h - edge, 14, "center", "bottom", AMBER);
    this.write(context, this.where(), edge, edge, 12, "left", "top");
    if (viewer.content.stamp) this.write(context, viewer.content.stamp, w - edge, h - edge, 12, "right", "bottom");
    const length = SCALE_BARS.filter((bar) => bar <= viewer.side / 4).pop() ?? SCALE_BARS[0];
    const pixels = (length / viewer.side) * w, path = new Path2D();
    path.moveTo(edge, h - edge);
    path.lineTo(edge + pixels, h - edge);
    this.stroke(context, path, "#fff", 2.5 * devicePixelRatio, [], "#000");
    this.write(context, `${length} mm`, edge, h - 2 * edge, 12, "left", "bottom");
  }

  where() { return `${AXIS_NAMES[this.normal]} = ${text(this.viewer.position(this.normal), 1)} mm`; }

  /** For those who do not see the picture. */
  say() {
    const words = this.where();
    if (this.output.textContent !== words) this.output.textContent = words;
    this.slider.value = String(this.place);
    this.slider.setAttribute("aria-valuetext", words);
  }

  // ------------------------------------------------------------ input

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { viewer } = this, { size } = viewer.grid, down = this.plane.isDown ? 1 : -1;
    const arrows = {
      ArrowLeft: [this.across, -1], ArrowRight: [this.across, 1],
      ArrowUp: [this.vertical, -down], ArrowDown: [this.vertical, down],
    };
    if (event.key in arrows) {
      const [axis, by] = arrows[event.key];
      if (event.shiftKey) viewer.pan(axis, (by * viewer.side) / 20);
      else viewer.step(axis, by);
    } else if (event.key === "PageUp" || event.key === "PageDown") {
      viewer.step(this.normal, (event.key === "PageUp" ? 1 : -1) * (event.shiftKey ? 5 : 1));
    } else if (event.key === "Home") viewer.moveTo(this.normal, 0);
    else if (event.key === "End") viewer.moveTo(this.normal, size[this.normal] - 1);
    else if (event.key === "+" || event.key === "=") viewer.zoom(0.8);
    else if (event.key === "-") viewer.zoom(1.25);
    else if (event.key === "0") viewer.reset();
    else if (/^[1-9]$/.test(event.key)) viewer.chooseLayer(Number(event.key) - 1);
    else {
      const name = { m: "mc", t: "tps", s: "structures", x: "cross" }[event.key.toLowerCase()];
      if (!name) return;
      viewer.toggle(name);
    }
    event.preventDefault();
  }

  /** Turns slices; a turn that began while the page was scrolled past goes on scrolling the page. */
  wheel(event) {
    const now = event.timeStamp, isPassing = PlaneView.passedAt !== undefined && now - PlaneView.passedAt < NEW_GESTURE;
    if (isPassing && document.activeElement !== this.screen) return;
    event.preventDefault();
    if (event.ctrlKey) {
      this.viewer.zoom(Math.exp(clamp(event.deltaY, -60, 60) / 250), this.pointOf(event));
      return;
    }
    // A wheel turns by about 100, a touchpad by a few at a time.
    this.turned = (now - (this.turnedAt ?? 0) > NEW_GESTURE ? 0 : this.turned) + (event.deltaMode ? 40 : 1) * event.deltaY;
    this.turnedAt = now;
    const slices = Math.abs(event.deltaY) >= 50 || event.deltaMode ? Math.sign(event.deltaY) : Math.trunc(this.turned / 30);
    if (!slices) return;
    this.turned = 0;
    this.viewer.step(this.normal, -slices);
  }

  pointerdown(event) {
    if (event.pointerType === "mouse" && event.button > 1) return;
    this.screen.focus({ preventScroll: true });
    this.screen.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, startX: event.clientX });
    this.isPanning = event.shiftKey || event.button === 1;
    if (event.button === 1) event.preventDefault();
    if (event.pointerType === "mouse" && !this.isPanning) this.cross(event);
  }

  pointermove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const dx = event.clientX - before.x, dy = event.clientY - before.y;
    if (this.pointers.size === 2) this.pinch(event, before);
    else if (this.isPanning) this.drag(dx, dy);
    else if (event.pointerType === "mouse" || Math.abs(event.clientX - before.startX) > 8) this.cross(event);
    Object.assign(before, { x: event.clientX, y: event.clientY });
  }

  pointerup(event) {
    const before = this.pointers.get(event.pointerId);
    if (before && this.pointers.size === 1 && event.pointerType !== "mouse" && !this.wasPinched) this.cross(event);
    this.pointercancel(event);
  }

  pointercancel(event) {
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.wasPinched = false;
  }

  /** Two fingers: their distance zooms, their middle pans. */
  pinch(event, before) {
    this.wasPinched = true;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
    const was = Math.hypot(before.x - other.x, before.y - other.y);
    const is = Math.hypot(event.clientX - other.x, event.clientY - other.y);
    const middle = { clientX: (event.clientX + other.x) / 2, clientY: (event.clientY + other.y) / 2 };
    this.drag((event.clientX - before.x) / 2, (event.clientY - before.y) / 2);
    if (was > 0 && is > 0) this.viewer.zoom(was / is, this.pointOf(middle));
  }

  drag(dx, dy) {
    const perPixel = this.viewer.side / this.canvas.clientWidth;
    this.viewer.pan(this.across, -dx * perPixel);
    this.viewer.pan(this.vertical, (this.plane.isDown ? -dy : dy) * perPixel);
  }

  cross(event) {
    const { viewer } = this, { origin, spacing } = viewer.grid;
    for (const [axis, at] of Object.entries(this.pointOf(event))) {
      viewer.moveTo(Number(axis), (at - origin[axis]) / spacing[axis]);
    }
  }
}

/** Column and row of the voxels of a mask that have a neighbour outside of it. */
function edgeOf({ values, width, height }) {
  const isInside = (column, row) => (
    column >= 0 && column < width && row >= 0 && row < height && values[row * width + column] >= 0.5
  );
  const edge = [];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const isWithin = [[1, 0], [-1, 0], [0, 1], [0, -1]].every(([x, y]) => isInside(column + x, row + y));
      if (isInside(column, row) && !isWithin) edge.push([column, row]);
    }
  }
  return edge;
}
