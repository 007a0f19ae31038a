// What lies on the disk: the comparison and the curves.

import { note } from "./cards.js";
import { add, commandLine, element, field, swatch } from "./page.js";

export async function table(view, runs, ask) {
  const found = await ask("table");
  if (!found.groups.length) {
    view.append(note("There are no results yet."));
    return;
  }
  const chosen = new Map(runs.map((run, number) => [run.name, number]));
  const ordered = [...found.groups].sort((one, other) => holds(other, chosen) - holds(one, chosen));
  view.append(...ordered.map((group) => comparison(group, chosen)));
  add(view, element("details", { class: "legend" }, element("summary", {}, "What the marks mean"),
    note(`Bold: ${found.legend}`)), note(found.skipped), commandLine(found.command));
}

function holds(group, chosen) {
  return group.rows.some((row) => row.runs.some((name) => chosen.has(name))) ? 1 : 0;
}

function comparison(group, chosen) {
  const head = group.columns.map(({ heading, arrow }) => element("th", { scope: "col" }, `${heading} ${arrow}`));
  const rows = group.rows.map((row) => {
    const numbers = row.runs.filter((name) => chosen.has(name)).map((name) => chosen.get(name));
    const name = element("th", { scope: "row" }, ...numbers.map(swatch), row.model,
      row.note ? element("span", { class: "muted" }, row.note) : null);
    const cells = row.cells.map(({ text, remark, best }) =>
      element("td", {}, best ? element("strong", {}, text) : text || "–",
        remark ? element("span", { class: "muted" }, remark) : null));
    return element("tr", { class: row.reference ? "reference" : null }, name, ...cells);
  });
  return element(
    "section", { class: "group" },
    element("h2", {}, group.title), note(group.subtitle),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": group.title },
      element("table", { class: "comparison" },
        element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "model"), ...head)),
        element("tbody", {}, ...rows))),
    element("details", {}, element("summary", {}, "Notes"), element("ul", { class: "muted" }, ...group.notes.map((text) => element("li", {}, text)))),
    commandLine(group.command),
  );
}

export async function curves(view, runs, ask) {
  const choice = element("select", { name: "figure" });
  const drawing = element("div", { class: "plot" });
  const legend = element("ul", { class: "legend" });
  const files = element("div");
  const show = async (figure) => {
    try {
      const found = await ask("curves", { runs: runs.map((run) => run.name), figure });
      if (choice.options.length !== found.figures.length) {
        choice.replaceChildren(...found.figures.map((name) => element("option", { value: name }, name)));
      }
      choice.value = found.figure;
      // The server's own drawing: parsed as a picture, and no script in it would run.
      const parsed = new DOMParser().parseFromString(found.svg, "text/html").querySelector("svg");
      drawing.replaceChildren(parsed || note("None of the chosen runs has a point of it."));
      legend.replaceChildren(...found.runs.map(({ last, points }, place) =>
        element("li", {}, swatch(place), `${runs[place].model} `, element("span", { class: "muted id" }, runs[place].id),
          last ? ` last ${last}${points ? "" : ", no point to draw"}` : " no such figure")));
      files.replaceChildren(
        note(`From ${found.files.join(", ")}. The report draws them too:`), commandLine(found.command));
    } catch (error) {
      drawing.replaceChildren(element("p", { class: "error", role: "alert" }, error.message));
    }
  };
  choice.addEventListener("change", () => show(choice.value));
  view.append(element("form", { class: "controls" }, field("figure", choice)), drawing, legend, files);
  await show(null);
}
