// Views of models: samples, latents, ways between two examples.

import { figures, note, picture, shown } from "./cards.js";
import { cards, commandLine, element, field, latest, numberInput, runCard, wholeNumber } from "./page.js";

function controls(...fields) {
  return element("form", { class: "controls", onsubmit: (event) => event.preventDefault() }, ...fields);
}

// Fill one card after the other: models compute one at a time, and the first shall be seen first. The other connections
// that a browser has to a host are for what waits for no model.
export async function fillEach(made, work) {
  let before = Promise.resolve();
  const inTurn = (run) => {
    const mine = before.then(() => work(run));
    before = mine.catch(() => {});
    return mine;
  };
  await Promise.all(made.map(({ run, slot }) => slot.fill(() => inTurn(run))));
}

function slots(runs) {
  return runs.map((run, number) => ({ run, slot: runCard(run, number) }));
}

export function samples(view, runs, ask) {
  const n = numberInput("n", 16, 1, 1000);
  const seed = numberInput("seed", 0, 0, Number.MAX_SAFE_INTEGER);
  const label = numberInput("label", "", 0, 1000000, { placeholder: "any" });
  const made = slots(runs);
  const draw = latest(() => {
    const settings = { n: wholeNumber(n), seed: wholeNumber(seed), label: wholeNumber(label) };
    return fillEach(made, async (run) => {
      const found = await ask("sample", { run: run.name, ...settings });
      const alt = `${settings.n} samples of ${run.model}, seed ${settings.seed}`;
      return [...shown(found, alt), figures(found.figures), commandLine(found.command)];
    });
  });
  const next = () => {
    seed.value = Number(seed.value) + 1;
    draw();
  };
  for (const input of [n, seed, label]) input.addEventListener("change", draw);
  view.append(
    controls(
      field("samples", n),
      field("seed", seed),
      field("label", label),
      element("button", { type: "button", class: "primary", id: "next", onclick: next }, "Next seed"),
    ),
    note("The label is for class-conditional models. The same seed draws the same samples, here and by the command."),
    cards(...made.map(({ slot }) => slot.card)),
  );
  draw();
}

export function latents(view, runs, ask) {
  const example = numberInput("example", 0, 0, 1e9);
  const made = slots(runs);
  const load = latest(() => {
    const number = wholeNumber(example);
    return fillEach(made, (run) => sliders(run, number, ask));
  });
  example.addEventListener("change", load);
  const picker = examplePicker(runs, ask, (entry) => {
    example.value = entry.number;
    load();
  });
  view.append(
    controls(field("test example", example)),
    picker,
    note("A slider moves one latent of the example's code; the most important ones, from −3 to 3 standard deviations, or on "
      + "to the example's own value."),
    element("div", { class: "cards wide" }, ...made.map(({ slot }) => slot.card)),
  );
  load();
}

async function sliders(run, example, ask) {
  const found = await ask("latents", { run: run.name, example });
  const now = element("div", { class: "now" });
  const code = element("div");
  const inputs = found.sliders.map((slider) =>
    element("input", {
      type: "range", min: slider.low, max: slider.high, step: "any", value: slider.value,
      "data-latent": slider.latent, "aria-label": `latent ${slider.latent}`, oninput: () => moved(),
    }),
  );
  const values = inputs.map((input) => element("output", {}, Number(input.value).toFixed(2)));
  const show = (made) => {
    now.replaceChildren(...shown(made, `Decoded by ${run.model}`));
    code.replaceChildren(commandLine(made.command));
  };
  const decode = latest(async () => {
    const latents = found.sliders.map((slider) => slider.latent);
    try {
      const settings = { run: run.name, example, latents, values: inputs.map((input) => Number(input.value)) };
      show((await ask("decode", settings)).now);
    } catch (error) {
      now.replaceChildren(element("p", { class: "error", role: "alert" }, error.message));
    }
  });
  const moved = () => {
    inputs.forEach((input, place) => (values[place].textContent = Number(input.value).toFixed(2)));
    decode();
  };
  const reset = () => {
    inputs.forEach((input, place) => (input.value = found.sliders[place].value));
    moved();
  };
  show(found.now);
  const rows = found.sliders.map((slider, place) =>
    element(
      "label",
      { class: "slider" },
      element("span", {}, `latent ${slider.latent}`),
      inputs[place],
      values[place],
      element("span", { class: "muted share" }, `${(100 * slider.share).toFixed(0)} %`),
    ),
  );
  const strip = picture(found.strip, `Latents of ${run.model}, one at a time, a row for each`);
  return [
    element(
      "div",
      { class: "twins" },
      element("figure", {}, ...shown(found.example, "The test example"), element("figcaption", {}, "example")),
      element("figure", {}, now, element("figcaption", {}, "decoded")),
    ),
    element("div", { class: "sliders" }, ...rows),
    element("p", {}, element("button", { type: "button", onclick: reset }, "Back to the example")),
    note(`${found.note} The percentages are shares among these.`),
    code,
    element("details", { class: "strip" }, element("summary", {}, "Each latent alone"), strip, commandLine(found.command)),
  ];
}

export function between(view, runs, ask) {
  const a = numberInput("a", 0, 0, 1e9);
  const b = numberInput("b", 1, 0, 1e9);
  const steps = numberInput("steps", 9, 2, 33);
  const path = element(
    "select", { name: "path" },
    element("option", { value: "spherical" }, "spherical"), element("option", { value: "linear" }, "linear"),
  );
  const made = slots(runs);
  const draw = latest(() => {
    const settings = { a: wholeNumber(a), b: wholeNumber(b), steps: wholeNumber(steps), path: path.value };
    return fillEach(made, async (run) => {
      const found = await ask("interpolate", { run: run.name, ...settings });
      const alt = `From test example ${settings.a} to ${settings.b}, by ${run.model}`;
      return [...shown(found, alt), note(found.note), commandLine(found.command)];
    });
  });
  for (const input of [a, b, steps, path]) input.addEventListener("change", draw);
  let second = false;
  const picker = examplePicker(runs, ask, (entry) => {
    (second ? b : a).value = entry.number;
    second = !second;
    draw();
  });
  view.append(
    controls(field("from test example", a), field("to", b), field("steps", steps), field("path", path)),
    picker,
    note("A click on an example chooses the first end, the next click the second."),
    element("div", { class: "cards wide" }, ...made.map(({ slot }) => slot.card)),
  );
  draw();
}

// Test examples of the first run's data to choose from, where they have pictures.
export function examplePicker(runs, ask, chosen) {
  const strip = element("div", { class: "picker" });
  let start = 0;
  const turn = latest(async (by) => {
    start = Math.max(0, start + by);
    let found;
    try {
      found = await ask("examples", { run: runs[0].name, start, count: 12 });
    } catch {
      strip.replaceChildren(); // the cards say what is wrong
      return;
    }
    if (!found.examples.some((entry) => entry.picture)) return;
    const buttons = found.examples.map((entry) => {
      const name = entry.label === null ? `${entry.number}` : `${entry.number}: ${entry.label}`;
      const image = element("img", { src: entry.picture, alt: "" });
      const hint = `Test example ${entry.number}${entry.label === null ? "" : `, label ${entry.label}`}`;
      const click = () => chosen(entry);
      return element("button", { type: "button", class: "example", title: hint, "aria-label": hint, onclick: click },
        image, element("span", {}, name));
    });
    const end = start + 12 >= found.count;
    strip.replaceChildren(
      element("button", { type: "button", disabled: start === 0, onclick: () => turn(-12), "aria-label": "Earlier" }, "‹"),
      element("div", { class: "examples" }, ...buttons),
      element("button", { type: "button", disabled: end, onclick: () => turn(12), "aria-label": "Later" }, "›"),
    );
  });
  turn(0);
  return strip;
}
