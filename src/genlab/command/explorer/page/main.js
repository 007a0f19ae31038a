// The page: which runs are chosen, and which view of them is shown.

import { draw } from "./draw.js";
import { between, latents, samples } from "./models.js";
import { ask, element, swatch } from "./page.js";
import { curves, table } from "./tables.js";

const VIEWS = {
  samples: ["Samples", samples],
  latents: ["Latents", latents],
  between: ["Interpolate", between],
  draw: ["Draw", draw],
  table: ["Table", table],
  curves: ["Curves", curves],
};
const MOST = 8; // as many as there are colours

const byId = (id) => document.getElementById(id);
let runs = null; // not known yet
let failure = null;
let chosen = [];
let visit = new AbortController();

function current() {
  const name = location.hash.slice(1);
  return Object.hasOwn(VIEWS, name) ? name : "samples";
}

function show() {
  for (const tab of byId("tabs").children) {
    const here = tab.id === `tab-${current()}`;
    tab.setAttribute("aria-selected", String(here));
    tab.tabIndex = here ? 0 : -1;
  }
  visit.abort();
  visit = new AbortController();
  const { signal } = visit;
  const view = element("section", { id: "view", role: "tabpanel", "aria-labelledby": `tab-${current()}` });
  byId("view").replaceWith(view);
  if (runs === null) {
    view.append(failure ? element("p", { class: "error", role: "alert" }, failure)
      : element("p", { class: "muted", "aria-busy": "true" }, "Looking for runs ..."));
    return;
  }
  if (!runs.length) {
    view.append(element("p", {}, "There are no runs here yet. ", element("code", {}, "python train.py"),
      " trains one; then load this page again."));
    return;
  }
  if (!chosen.length) {
    view.append(element("p", { class: "muted" }, "Choose one or more runs."));
    return;
  }
  const asked = (kind, settings) => ask(kind, settings, signal);
  Promise.resolve(VIEWS[current()][1](view, chosen, asked)).catch((error) => {
    view.append(element("p", { class: "error", role: "alert" }, error.message));
  });
}

function mark() {
  byId("chosen").textContent = chosen.length ? `${chosen.length} chosen` : "";
  for (const box of document.querySelectorAll("#runs input")) {
    const number = chosen.findIndex((run) => run.name === box.value);
    box.checked = number >= 0;
    box.disabled = box.dataset.weights === "none" || (number < 0 && chosen.length >= MOST);
    box.parentElement.querySelector(".swatch").className = number < 0 ? "swatch" : `swatch c${number % 8}`;
  }
}

function toggle(run, wanted) {
  chosen = chosen.filter((other) => other.name !== run.name);
  if (wanted) chosen.push(run);
  mark();
  show();
}

function entry(run) {
  const weights = run.state === "no weights yet" ? "none" : null;
  const box = element("input", { type: "checkbox", value: run.name, "data-weights": weights,
    onchange: (event) => toggle(run, event.target.checked) });
  const figures = run.figures.map(({ label, value, kind }) =>
    element("span", { class: "figure", title: `${label} ${kind}` }, element("span", { class: "muted" }, label), ` ${value}`));
  const family = run.family && run.family !== run.model ? run.family : "";
  const about = [family, run.variant, run.state].filter(Boolean).join(", ");
  return element("label", { class: "run" }, box, swatch(8),
    element("span", { class: "name" }, element("strong", {}, run.model), element("span", { class: "muted id" }, run.id)),
    element("span", { class: "about muted" }, about),
    element("span", { class: "numbers" }, ...figures));
}

function tabs() {
  const made = Object.entries(VIEWS).map(([name, [title]]) =>
    element("button", { type: "button", role: "tab", id: `tab-${name}`, onclick: () => (location.hash = name) }, title));
  byId("tabs").append(...made);
  byId("tabs").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = made[(made.indexOf(document.activeElement) + by + made.length) % made.length];
    next.focus();
    next.click();
  });
}

async function begin() {
  tabs();
  if (matchMedia("(max-width: 60rem)").matches) byId("choose").open = false;
  window.addEventListener("hashchange", show);
  show();
  try {
    const found = await ask("runs");
    byId("where").textContent = found.logs;
    runs = found.groups.flatMap((group) => group.runs);
    const groups = found.groups.map((group) =>
      element("section", {}, element("h3", {}, group.data), ...group.runs.map(entry)));
    byId("runs").replaceChildren(...groups);
    chosen = runs.filter((run) => found.first.includes(run.name));
    mark();
    show();
  } catch (error) {
    failure = error.message;
    show();
  }
}

begin();
