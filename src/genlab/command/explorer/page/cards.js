// What a model made, as a page shows it: pictures, sounds, texts, figures.

import { element } from "./page.js";

const large = document.getElementById("large");
large.addEventListener("click", (event) => {
  if (event.target === large) large.close();
});

export function picture(made, alt) {
  if (!made.picture) return null;
  const image = element("img", { src: made.picture, alt, class: [made.smooth ? "smooth" : "", made.wide ? "wide" : ""].join(" ").trim() || null });
  const open = () => {
    const shown = large.querySelector("img");
    shown.src = image.src;
    shown.alt = alt;
    shown.className = image.className;
    large.querySelector("p").textContent = alt;
    large.showModal();
  };
  return element("button", { type: "button", class: "open", onclick: open, "aria-label": `Enlarge: ${alt}` }, image);
}

export function heard(made) {
  if (!made.sounds?.length) return null;
  const players = made.sounds.map((src, place) =>
    element("li", {}, element("span", {}, String(place + 1)), element("audio", { controls: true, preload: "none", src })),
  );
  return element("ul", { class: "sounds" }, ...players);
}

export function texts(made) {
  if (!made.texts?.length) return null;
  return element("pre", { class: made.wrapped ? "text" : "text rows", tabindex: 0 }, made.texts.join("\n\n"));
}

export function shown(made, alt) {
  return [picture(made, alt), heard(made), texts(made)].filter(Boolean);
}

export function figures(list) {
  if (!list?.length) return null;
  const entries = list.flatMap(({ label, value, kind }) => [
    element("dt", {}, label),
    element("dd", {}, value, kind ? element("span", { class: "muted" }, ` ${kind}`) : null),
  ]);
  return element("dl", { class: "figures" }, ...entries);
}

export function note(text) {
  return text ? element("p", { class: "muted" }, text) : null;
}
