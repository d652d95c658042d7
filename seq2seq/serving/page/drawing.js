/* Images drawn with the mouse, a finger or the keyboard, as the rows of numbers that a captioner reads. */

const BLOCK = 4; // a pixel of the model is the share of a block of 4 × 4 points that is drawn, as in the digits of UCI
const PLACES = 4;
const PEN = 0.11; // width of the pen, as a share of the side

/* `side` is the model's number of pixels in a row; `changed` is called after each stroke. */
class Drawing {
  constructor(side, number, changed) {
    this.side = side;
    this.changed = changed;
    this.strokes = [];
    this.pen = null; // of the keyboard
    this.canvas = element("canvas", {
      width: 224, height: 224, tabindex: "0", role: "application",
      "aria-label": `Drawing ${number}: draw a digit; with the keyboard, arrows move, space lowers or lifts the pen, ` +
        "Delete clears",
    });
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, () => this.end());
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  get empty() {
    return !this.strokes.length;
  }

  clear() {
    this.strokes = [];
    this.pen = null;
    this.paint();
    this.changed();
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  begin(event) {
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.drawing = [this.point(event)];
    this.strokes.push(this.drawing);
    this.paint();
  }

  move(event) {
    if (!this.drawing) return;
    this.drawing.push(this.point(event));
    this.paint();
  }

  end() {
    if (!this.drawing) return;
    this.drawing = null;
    this.changed();
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === "Delete") this.clear();
    else if (event.key === " ") this.lower();
    else if (steps[event.key]) this.step(steps[event.key]);
    else return;
    event.preventDefault();
  }

  lower() {
    this.pen = this.pen || { at: [0.5, 0.2], stroke: null };
    this.pen.stroke = this.pen.stroke ? null : [this.pen.at];
    if (this.pen.stroke) this.strokes.push(this.pen.stroke);
    else this.changed();
    this.paint();
  }

  step([dx, dy]) {
    this.pen = this.pen || { at: [0.5, 0.2], stroke: null };
    const inside = (value) => Math.min(0.95, Math.max(0.05, value));
    this.pen.at = [inside(this.pen.at[0] + dx * 0.08), inside(this.pen.at[1] + dy * 0.08)];
    if (this.pen.stroke) this.pen.stroke.push(this.pen.at);
    this.paint();
  }

  paint() {
    const context = this.canvas.getContext("2d");
    const size = this.canvas.width;
    context.clearRect(0, 0, size, size);
    trace(context, this.strokes.map((stroke) => stroke.map(([x, y]) => [x * size, y * size])), PEN * size);
    if (this.pen) {
      context.strokeStyle = this.pen.stroke ? "#f5a623" : "#888";
      context.lineWidth = 3;
      context.beginPath();
      context.arc(this.pen.at[0] * size, this.pen.at[1] * size, 9, 0, 7);
      context.stroke();
    }
  }

  /* The pixels, row by row, from 0 to 1: the drawing fills the square, as the digits that the model has learned. */
  pixels() {
    const points = this.strokes.flat();
    const [left, right] = range(points.map(([x]) => x));
    const [top, bottom] = range(points.map(([, y]) => y));
    const size = this.side * BLOCK;
    const width = PEN * size;
    const scale = (size - width) / Math.max(right - left, bottom - top, 0.15);
    const place = ([x, y]) => [(x - (left + right) / 2) * scale + size / 2, (y - (top + bottom) / 2) * scale + size / 2];
    const canvas = element("canvas", { width: size, height: size });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    trace(context, this.strokes.map((stroke) => stroke.map(place)), width);
    const { data } = context.getImageData(0, 0, size, size);
    return Array.from({ length: this.side * this.side }, (_, i) => {
      const [row, column] = [Math.floor(i / this.side) * BLOCK, (i % this.side) * BLOCK];
      let drawn = 0;
      for (let y = row; y < row + BLOCK; y += 1) {
        for (let x = column; x < column + BLOCK; x += 1) drawn += data[4 * (y * size + x) + 3] > 127;
      }
      return drawn / (BLOCK * BLOCK);
    });
  }
}

function range(values) {
  return [Math.min(...values), Math.max(...values)];
}

function trace(context, strokes, width) {
  Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    for (const point of stroke) context.lineTo(...point);
    if (stroke.length === 1) context.lineTo(stroke[0][0] + 0.01, stroke[0][1]);
    context.stroke();
  }
}
