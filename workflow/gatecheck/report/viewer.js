// The slice viewer: three linked planes through the volumes that the page holds. Nothing is loaded from anywhere.
// This file comes last, after those of the volumes and of a plane, in one script.

const SMALLEST_SIDE = 10; // mm

const root = document.getElementById("viewer");
const message = document.getElementById("viewer-message");
const element = (name) => root.querySelector(`[data-viewer="${name}"]`);

class Viewer {
  constructor(content, volumes, structures) {
    Object.assign(this, { content, volumes, structures });
    this.grid = content.grid;
    this.index = [...content.start];
    this.whole = 1.04 * Math.max(...this.grid.size.map((n, axis) => n * this.grid.spacing[axis]));
    this.colours = {};
    for (const [name, table] of Object.entries(content.colours)) {
      this.colours[name] = Uint8Array.from(atob(table), (letter) => letter.charCodeAt(0));
    }
    this.layers = content.layers.map((layer) => ({ ...layer }));
    this.layer = this.layers[0];
    this.doseHiddenBelow = 0;
    this.shown = { mc: true, tps: Boolean(volumes.tps), structures: true, cross: true };
    this.structures.forEach((one, n) => { one.isShown = this.structureBox(n).checked; });
    this.resetView();
    this.planes = content.planes.map((plane, n) => new PlaneView(this, plane, n));
    this.listen();
    this.showLayer();
  }

  structureBox(n) { return root.querySelector(`[data-structure="${n}"]`); }

  position(axis) { return this.grid.origin[axis] + this.index[axis] * this.grid.spacing[axis]; }

  resetView() {
    this.side = this.whole;
    this.centre = this.grid.size.map((n, axis) => this.grid.origin[axis] + ((n - 1) / 2) * this.grid.spacing[axis]);
  }

  /** A step along an axis, in voxels; keeps the cross-hair in view. */
  step(axis, by) { this.moveTo(axis, this.index[axis] + by); }

  moveTo(axis, place) {
    this.index[axis] = clamp(Math.round(place), 0, this.grid.size[axis] - 1);
    const reach = 0.46 * this.side, at = this.position(axis);
    this.centre[axis] = clamp(this.centre[axis], at - reach, at + reach);
    this.draw();
  }

  /** Round a point (mm, by axis); without one round the cross-hair. */
  zoom(factor, around = {}) {
    const side = clamp(this.side * factor, SMALLEST_SIDE, this.whole), ratio = side / this.side;
    for (let axis = 0; axis < 3; axis++) {
      const fixed = around[axis] ?? this.position(axis);
      this.centre[axis] = fixed + (this.centre[axis] - fixed) * ratio;
    }
    this.side = side;
    if (side === this.whole) this.resetView();
    this.draw();
  }

  pan(axis, by) {
    const half = (this.grid.size[axis] / 2) * this.grid.spacing[axis];
    const middle = this.grid.origin[axis] + half - this.grid.spacing[axis] / 2;
    this.centre[axis] = clamp(this.centre[axis] + by, middle - half, middle + half);
    this.draw();
  }

  /** Of a layer, as shown: difference and factor applied. */
  layerSlice(layer, axes, place) {
    const slice = sliceOf(this.volumes[layer.volume], axes, place), { values } = slice;
    const other = layer.minus ? sliceOf(this.volumes[layer.minus], axes, place).values : null;
    for (let n = 0; n < values.length; n++) values[n] = (values[n] - (other ? other[n] : 0)) * layer.factor;
    return slice;
  }

  layerValue(layer, index) {
    const value = valueAt(this.volumes[layer.volume], index);
    return (value - (layer.minus ? valueAt(this.volumes[layer.minus], index) : 0)) * layer.factor;
  }

  // ------------------------------------------------------------ controls

  listen() {
    for (const input of root.querySelectorAll('[name="viewer-layer"]')) {
      input.addEventListener("change", () => this.chooseLayer(Number(input.value)));
    }
    for (const name of ["low", "high", "hidden"]) element(name).addEventListener("input", () => this.readScale());
    element("dose-hidden").addEventListener("input", () => this.readScale());
    element("opacity").addEventListener("input", () => {
      this.layer.opacity = Number(element("opacity").value) / 100;
      this.draw();
    });
    for (const name of Object.keys(this.shown)) {
      const box = element(`show-${name}`);
      if (!box) continue;
      this.shown[name] = box.checked;
      box.addEventListener("change", () => { this.shown[name] = box.checked; this.draw(); });
    }
    this.structures.forEach((one, n) => {
      this.structureBox(n).addEventListener("change", (event) => { one.isShown = event.target.checked; this.draw(); });
    });
    element("zoom-in").addEventListener("click", () => this.zoom(0.8));
    element("zoom-out").addEventListener("click", () => this.zoom(1.25));
    element("reset").addEventListener("click", () => this.reset());
    new ResizeObserver(() => this.draw()).observe(root);
  }

  reset() {
    this.index = [...this.content.start];
    this.resetView();
    this.draw();
  }

  chooseLayer(n) {
    if (!this.layers[n]) return;
    this.layer = this.layers[n];
    root.querySelector(`[name="viewer-layer"][value="${n}"]`).checked = true;
    this.showLayer();
  }

  toggle(name) {
    const box = element(`show-${name}`);
    if (!box) return;
    box.checked = !box.checked;
    this.shown[name] = box.checked;
    this.draw();
  }

  /** Writes a layer's scale into the inputs. */
  showLayer() {
    const { layer } = this;
    for (const [name, key] of [["low", "low"], ["high", "high"], ["hidden", "hiddenBelow"]]) {
      element(name).value = String(layer[key]);
      element(name).removeAttribute("aria-invalid");
    }
    element("opacity").value = String(Math.round(100 * layer.opacity));
    for (const unit of root.querySelectorAll("[data-unit]")) unit.textContent = layer.unit;
    this.draw();
  }

  /** Takes what the inputs say; what cannot be used is marked, and the scale stays as it was. */
  readScale() {
    const read = (name) => (element(name).value.trim() === "" ? NaN : Number(element(name).value));
    const low = read("low"), high = read("high"), hidden = read("hidden"), dose = read("dose-hidden");
    const mark = (name, isGood) => {
      if (isGood) element(name).removeAttribute("aria-invalid");
      else element(name).setAttribute("aria-invalid", "true");
    };
    const isOrdered = low < high;
    mark("low", isOrdered);
    mark("high", isOrdered);
    mark("hidden", hidden >= 0);
    mark("dose-hidden", dose >= 0);
    if (isOrdered) Object.assign(this.layer, { low, high });
    if (hidden >= 0) this.layer.hiddenBelow = hidden;
    if (dose >= 0) this.doseHiddenBelow = (dose / 100) * this.content.hundredPercentGy;
    element("scale-error").hidden = isOrdered && hidden >= 0 && dose >= 0;
    this.draw();
  }

  // ------------------------------------------------------------ drawing

  draw() {
    if (this.isAsked) return;
    this.isAsked = true;
    requestAnimationFrame(() => {
      this.isAsked = false;
      for (const plane of this.planes) plane.draw();
      this.drawScale();
      this.read();
      root.dataset.index = this.index.join(",");
      root.dataset.side = String(this.side);
    });
  }

  drawScale() {
    const { layer } = this, canvas = element("scale"), context = canvas.getContext("2d");
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    const table = this.colours[layer.colours];
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (let x = 0; x < canvas.width; x++) {
      const share = (x + 0.5) / canvas.width, value = layer.low + share * (layer.high - layer.low);
      if (Math.abs(value) < layer.hiddenBelow) continue;
      const n = 3 * colourOf(layer, value);
      context.fillStyle = `rgb(${table[n]}, ${table[n + 1]}, ${table[n + 2]})`;
      context.fillRect(x, 0, 1, canvas.height);
    }
    element("ticks").replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((share) => {
      const value = layer.low + share * (layer.high - layer.low), tick = document.createElement("span");
      tick.textContent = text(value, layer.digits);
      if (layer.percentOfGy) {
        const percent = document.createElement("small");
        percent.textContent = `${text((100 * value) / layer.percentOfGy, 0)}\u202f%`;
        tick.append(percent);
      }
      return tick;
    }));
    const percent = layer.percentOfGy ? ` (${text((100 * layer.hiddenBelow) / layer.percentOfGy, 1)}\u202f%)` : "";
    const below = `${text(layer.hiddenBelow, layer.digits)} ${layer.unit}`.trim() + percent;
    element("scale-words").textContent = `${layer.name}${layer.unit ? `, ${layer.unit}` : ""}.` +
      (layer.opacity < 1 ? ` Over the CT with ${text(100 * layer.opacity, 0)}\u202f% opacity.` : "") +
      (layer.hiddenBelow > 0 ? ` Hidden${layer.low < 0 ? " in magnitude" : ""} below ${below}: white on the scale.` : "");
  }

  /** Numbers at the cross-hair. */
  read() {
    const { volumes, index } = this, gray = this.content.hundredPercentGy;
    const put = (name, words) => {
      const place = element(`read-${name}`);
      if (place && place.textContent !== words) place.textContent = words;
    };
    const ofDose = (value) => `${text(value, 2)} Gy`;
    const share = (value) => `${text((100 * value) / gray, 1)}\u202f%`;
    put("position", AXIS_NAMES.map((name, axis) => `${name} ${text(this.position(axis), 1)}`).join(", ") + " mm");
    const ct = valueAt(volumes.ct, index);
    put("ct", Number.isNaN(ct) ? "outside of the CT" : `${text(ct, 0)} HU`);
    const mc = valueAt(volumes.mc, index), sigma = valueAt(volumes.sigma, index);
    put("mc", Number.isNaN(mc) ? "outside of the body" : `${text(mc, 2)} ± ${text(sigma, 2)} Gy (${share(mc)})`);
    put("sigma", Number.isNaN(sigma) ? "outside of the body" : `${text((100 * sigma) / gray, 2)}\u202f% of ${ofDose(gray)}`);
    if (volumes.tps) {
      const tps = valueAt(volumes.tps, index), difference = mc - tps;
      const where = Number.isNaN(mc) ? "outside of the body" : "outside of the TPS dose grid";
      put("tps", Number.isNaN(tps) ? where : `${ofDose(tps)} (${share(tps)})`);
      put("difference", Number.isNaN(difference) ? where :
        `${signed(difference, 2)} ± ${text(sigma, 2)} Gy (${signed((100 * difference) / gray, 1)}\u202f%)`);
    }
    for (const layer of this.layers.filter((one) => one.key.startsWith("gamma"))) {
      const gamma = valueAt(volumes[layer.volume], index);
      const words = gamma === -Infinity ? "not reached: counts as failed" : Number.isNaN(gamma) ? "not evaluated" :
        (layer.largest !== null && gamma >= layer.largest - volumes[layer.volume].step ? "at least " : "") + text(gamma, 2);
      put(layer.key, words);
    }
    const inside = this.structures.filter((one) => one.mask && insideOf(one, index));
    put("structures", inside.map((one) => `${one.letter} ${one.name}`).join(", ") || "none of those listed");
  }
}

function insideOf({ start, mask }, index) {
  const own = index.map((place, axis) => place - start[axis]);
  return own.every((place, axis) => place >= 0 && place < mask.size[axis]) && valueAt(mask, own) >= 0.5;
}

async function open() {
  const content = JSON.parse(document.getElementById("viewer-data").textContent);
  const names = Object.keys(content.volumes);
  const volumes = await Promise.all(names.map((name) => unpacked(content.volumes[name])));
  const structures = await Promise.all(content.structures.map(async (one) => (
    { ...one, mask: one.mask && await unpacked(one.mask) }
  )));
  message.hidden = true;
  root.hidden = false;
  new Viewer(content, Object.fromEntries(names.map((name, n) => [name, volumes[n]])), structures);
  root.dataset.ready = "true";
}

// The page under a pointer that rests: the wheel goes on scrolling it when a plane comes under the pointer.
addEventListener("wheel", (event) => {
  if (!event.defaultPrevented) PlaneView.passedAt = event.timeStamp;
}, { passive: true });

open().catch((error) => {
  root.hidden = true;
  message.hidden = false;
  message.append(` What this browser said: ${error.message}`);
});
