// What all views share: elements, requests, cards. Text is set as text and never as HTML: names may be a stranger's.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// With a signal of the view that asks: once that is left, what it asked for is dropped, and it can ask for nothing more.
// Else answers that nobody waits for would take the few connections that a browser has to a host.
export async function ask(kind, settings = {}, signal = undefined) {
  let answer;
  try {
    answer = await fetch(`api/${kind}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(settings),
      signal,
    });
  } catch {
    throw new Error("The explorer does not answer. Is it still running?");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

// Of many calls while one is under way only the last is made after it: a slider moves faster than a model computes.
export function latest(work) {
  let busy = false;
  let waiting = null;
  return async function call(...settings) {
    if (busy) {
      waiting = settings;
      return;
    }
    busy = true;
    try {
      await work(...settings);
    } finally {
      busy = false;
      const next = waiting;
      waiting = null;
      if (next) call(...next);
    }
  };
}

export function field(label, input) {
  return element("label", { class: "field" }, element("span", {}, label), input);
}

export function numberInput(name, value, least, most, more = {}) {
  return element("input", { type: "number", name, value, min: least, max: most, ...more });
}

export function wholeNumber(input) {
  return input.value === "" ? null : Number(input.value);
}

// A command with a button that copies it.
export function commandLine(text) {
  const code = element("code", {}, text);
  const button = element("button", { type: "button", class: "copy", onclick: () => copy(text, code, button) }, "Copy");
  const lines = text.split("\n").length;
  const whole = lines > 2 ? element("details", {}, element("summary", {}, "Python that makes the same"), code) : code;
  return element("div", { class: lines > 2 ? "command code" : "command" }, whole, button);
}

async function copy(text, code, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  } catch {
    // A page without TLS on another machine has no clipboard: what is selected can be copied by hand.
    code.closest("details")?.setAttribute("open", "");
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
}

export function swatch(number) {
  return element("span", { class: `swatch c${number % 8}`, "aria-hidden": "true" });
}

// A card of a run, whose body is exchanged; while it is computed the old body stays, paler.
export function runCard(run, number) {
  const body = element("div", { class: "body" });
  const variant = run.variant ? element("span", { class: "muted" }, run.variant) : null;
  const card = element(
    "article",
    { class: "card", "data-run": run.name, "aria-label": `${run.model} ${run.id}` },
    element("h3", {}, swatch(number), element("span", {}, run.model), element("span", { class: "muted id" }, run.id)),
    variant,
    body,
  );
  return {
    card,
    async fill(work) {
      card.setAttribute("aria-busy", "true");
      try {
        body.replaceChildren(...(await work()).filter(Boolean));
      } catch (error) {
        body.replaceChildren(element("p", { class: "error", role: "alert" }, error.message));
      } finally {
        card.classList.toggle("large", body.querySelector(":not(details) > button > img.wide") !== null);
        card.removeAttribute("aria-busy");
      }
    },
  };
}

// As append, but for what is not there.
export function add(parent, ...children) {
  parent.append(...children.filter((child) => child !== null && child !== undefined));
}

export function cards(...children) {
  return element("div", { class: "cards" }, ...children);
}
