// Elements of the page: found, made, announced. Text is always set as text, never as HTML.

import { t } from "./messages.js";

export const $ = (id) => document.getElementById(id);

/** An element; properties that start with "on" listen, the others are attributes. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** A drawing of index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** A button whose word follows the language. */
export function wordButton(word, onclick, attributes = {}) {
  return make("button", { type: "button", "data-t": word, onclick, ...attributes }, t(word));
}

const MAX_SPOKEN = 30;

/** Let a screen reader say a text when it has time. */
export function announce(text) {
  const live = $("live");
  live.append(make("p", {}, text));
  while (live.childElementCount > MAX_SPOKEN) live.firstElementChild.remove();
}

let hiding;

/** Show a sentence above the page for a while; a screen reader says it at once. */
export function notify(text) {
  const notice = $("notice");
  notice.textContent = text;
  notice.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (notice.hidden = true), 8000);
}

/** Ask yes or no in a dialog; resolves to whether it was yes. */
export function confirmed(title, text, yes) {
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
