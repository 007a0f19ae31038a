// A drawing, and what each model makes of it.

import { figures, note, picture } from "./cards.js";
import { examplePicker, fillEach } from "./models.js";
import { cards, commandLine, element, field, latest, numberInput, runCard, wholeNumber } from "./page.js";

const SIDE = 336; // pixels of the canvas, a multiple of 8, 16 and 28

export async function draw(view, runs, ask) {
  let about;
  const waiting = element("p", { class: "muted", "aria-busy": "true" }, "Waiting for the first model ...");
  view.append(waiting);
  try {
    about = await ask("examples", { run: runs[0].name, count: 1 });
  } catch (error) {
    view.append(element("p", { class: "error", role: "alert" }, error.message));
    return;
  } finally {
    waiting.remove();
  }
  if (!about.drawable) {
    view.append(note(`${about.data} has no small pictures in levels, which a pen could draw. Choose a run on such data.`));
    return;
  }
  const alike = runs.filter((run) => run.data === runs[0].data);
  const [height, width] = about.shape.slice(-2);
  const paper = element("canvas", { id: "paper", width: SIDE, height: SIDE, "aria-label": "Draw here" });
  const seen = element("canvas", { id: "seen", width, height, "aria-label": "What the models see" });
  const label = numberInput("label", "", 0, 1000000, { placeholder: "none" });
  const size = element("input", { type: "range", min: 0.5, max: 4, step: 0.1, value: Math.max(1.2, width / 12) });
  const made = alike.map((run) => ({ run, slot: runCard(run, runs.indexOf(run)) }));
  const pen = new Pen(paper, seen, about.levels);
  const look = latest(async () => {
    const [levels, given] = [pen.levels(), wholeNumber(label)];
    await fillEach(made, (run) => judged(run, levels, given, ask));
  });
  pen.changed = look;
  pen.width = () => (Number(size.value) * SIDE) / width;
  label.addEventListener("change", look);
  const button = (text, work) =>
    element("button", { type: "button", onclick: () => { work(); look(); } }, text);
  view.append(
    element(
      "div",
      { class: "easel" },
      paper,
      element(
        "div",
        {},
        element("figure", {}, seen,
          element("figcaption", {}, `what the models see: ${width} × ${height}, ${about.levels} levels`)),
        element("div", { class: "controls" }, button("Clear", () => pen.clear()), button("Centre", () => pen.centre()),
          field("pen", size), field("label", label)),
        note("Draw on the black square, or begin with a test example:"),
        examplePicker(alike, ask, (entry) => {
          pen.put(entry.levels);
          look();
        }),
        note("Each model gives its reconstruction, its likelihood and its scores of how unusual the drawing is. High is "
          + "unusual; the bar says how many test examples of its own score lower."),
      ),
    ),
    cards(...made.map(({ slot }) => slot.card)),
  );
  if (alike.length < runs.length) view.append(note(`Shown are the runs on ${runs[0].data}, of which the drawing is.`));
  pen.put(about.examples[0].levels);
  look();
}

async function judged(run, levels, label, ask) {
  const found = await ask("draw", { run: run.name, levels, label });
  const save = found.drawing
    ? element("a", { href: found.drawing, download: "drawing.png", class: "save" }, "Save drawing.png, which the Python reads")
    : null;
  return [
    found.back
      ? element("div", { class: "twins" },
        element("figure", {}, picture(found.seen, "The drawing"), element("figcaption", {}, "drawing")),
        element("figure", {}, picture(found.back, `Reconstructed by ${run.model}`),
          element("figcaption", {}, "reconstruction")))
      : note(found.no_back),
    figures(found.figures),
    ...scores(found.scores),
    commandLine(found.command),
    save,
  ];
}

function scores(list) {
  const reasons = new Map();
  for (const { name, lacks } of list) if (lacks) reasons.set(lacks, [...(reasons.get(lacks) ?? []), name]);
  const without = Array.from(reasons, ([reason, names]) => note(`No ${names.join(", ")}: ${reason}.`));
  const there = list.filter((score) => !score.lacks);
  if (!there.length) return without;
  const rows = there.map((score) => {
    const share = Math.round(100 * score.below);
    return element("tr", {}, element("th", { scope: "row", title: score.about }, score.name),
      element("td", {}, score.value),
      element("td", {}, element("progress", { max: 100, value: share, "aria-label": `${score.name}, share below` }),
        element("span", { class: "share" }, `${share} % of ${score.of}`)));
  });
  const head = ["score", "value", "test examples below"].map((text) => element("th", { scope: "col" }, text));
  const made = element("table", { class: "scores" },
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  return [made, ...without];
}

// A pen on paper, white on black; what models see is the mean over each pixel's square, in their levels.
class Pen {
  constructor(paper, seen, most) {
    this.paper = paper;
    this.seen = seen;
    this.most = most - 1;
    this.ink = paper.getContext("2d", { willReadFrequently: true });
    this.changed = () => {};
    this.width = () => 24;
    let last = null;
    const at = (event) => {
      const box = paper.getBoundingClientRect();
      return [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
    };
    paper.addEventListener("pointerdown", (event) => {
      paper.setPointerCapture(event.pointerId);
      last = at(event);
      this.line(last, last);
    });
    paper.addEventListener("pointermove", (event) => {
      if (last === null) return;
      const next = at(event);
      this.line(last, next);
      last = next;
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      paper.addEventListener(kind, () => {
        if (last !== null) this.changed();
        last = null;
      });
    }
    this.clear();
  }

  clear() {
    this.ink.fillStyle = "#000";
    this.ink.fillRect(0, 0, SIDE, SIDE);
    this.levels();
  }

  line([x0, y0], [x1, y1]) {
    Object.assign(this.ink, { strokeStyle: "#fff", lineWidth: this.width(), lineCap: "round", lineJoin: "round" });
    this.ink.beginPath();
    this.ink.moveTo(x0, y0);
    this.ink.lineTo(x1 + 0.01, y1);
    this.ink.stroke();
    this.levels();
  }

  put(levels) {
    const { width, height } = this.seen;
    levels.forEach((level, place) => {
      const gray = Math.round((255 * level) / this.most);
      this.ink.fillStyle = `rgb(${gray} ${gray} ${gray})`;
      const [x, y] = [place % width, Math.floor(place / width)];
      // The pixels that levels() counts to this square: by rounding some would be counted to its neighbour.
      const [left, top] = [Math.ceil((x * SIDE) / width), Math.ceil((y * SIDE) / height)];
      const [right, bottom] = [Math.ceil(((x + 1) * SIDE) / width), Math.ceil(((y + 1) * SIDE) / height)];
      this.ink.fillRect(left, top, right - left, bottom - top);
    });
    this.levels();
  }

  // Shift whole pixels until the centre of mass is the middle, as the digits of MNIST have it.
  centre() {
    const { width, height } = this.seen;
    const levels = this.levels();
    const total = levels.reduce((sum, level) => sum + level, 0);
    if (!total) return;
    let [x, y] = [0, 0];
    levels.forEach((level, place) => {
      x += (level * (place % width)) / total;
      y += (level * Math.floor(place / width)) / total;
    });
    const [dx, dy] = [Math.round((width - 1) / 2 - x), Math.round((height - 1) / 2 - y)];
    this.put(levels.map((_, place) => {
      const [fromX, fromY] = [(place % width) - dx, Math.floor(place / width) - dy];
      const inside = fromX >= 0 && fromX < width && fromY >= 0 && fromY < height;
      return inside ? levels[fromY * width + fromX] : 0;
    }));
  }

  levels() {
    const { width, height } = this.seen;
    const { data } = this.ink.getImageData(0, 0, SIDE, SIDE);
    const sums = new Float64Array(width * height);
    const counts = new Float64Array(width * height);
    for (let y = 0; y < SIDE; y += 1) {
      const row = Math.floor((y * height) / SIDE) * width;
      for (let x = 0; x < SIDE; x += 1) {
        const place = row + Math.floor((x * width) / SIDE);
        sums[place] += data[4 * (y * SIDE + x)];
        counts[place] += 1;
      }
    }
    const found = Array.from(sums, (sum, place) => Math.round((sum / counts[place] / 255) * this.most));
    const context = this.seen.getContext("2d");
    const shown = context.createImageData(width, height);
    found.forEach((level, place) => {
      const gray = Math.round((255 * level) / this.most);
      shown.data.set([gray, gray, gray, 255], 4 * place);
    });
    context.putImageData(shown, 0, 0);
    return found;
  }
}
