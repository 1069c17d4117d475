// HTML of an answer, already sanitized by the server, into elements of a short list; all else is text.

import { confirmed, make } from "./elements.js";
import { t } from "./messages.js";

const KEPT = new Set(
  "P BR STRONG B EM I S DEL CODE PRE UL OL LI BLOCKQUOTE TABLE THEAD TBODY TR TH TD HR".split(" "),
);
const DROPPED = new Set("SCRIPT STYLE TEMPLATE IFRAME OBJECT EMBED SVG MATH NOSCRIPT HEAD TITLE TEXTAREA SELECT".split(" "));
const HEADING = /^H[1-6]$/;
const MARK = /\[(\d{1,4}(?:\s?,\s?\d{1,4}){0,9})\]/g;

/** Elements for the HTML of an answer; onCite is called with the number of a clicked citation. */
export function fromHtml(html, onCite) {
  // A parsed document runs no script and loads nothing; only its names and texts are read.
  const parsed = new DOMParser().parseFromString(html, "text/html");
  const made = document.createDocumentFragment();
  copyChildren(parsed.body, made, onCite);
  return made;
}

function copyChildren(from, to, onCite) {
  for (const child of from.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) to.append(child.data);
    else if (child.nodeType === Node.ELEMENT_NODE) copyElement(child, to, onCite);
  }
}

function copyElement(child, to, onCite) {
  const name = child.tagName.toUpperCase();
  if (DROPPED.has(name)) return;
  if (name === "BUTTON" && child.className === "citation" && /^\d{1,4}$/.test(child.dataset.n)) {
    to.append(citation(Number(child.dataset.n), onCite));
    return;
  }
  let target = to;
  if (name === "A" && webAddress(child.getAttribute("href"))) target = link(child.getAttribute("href"));
  else if (HEADING.test(name)) target = make("h3");
  else if (KEPT.has(name)) target = make(name.toLowerCase());
  copyChildren(child, target, onCite);
  if (target !== to) to.append(target);
}

/** A plain text with its [n] as buttons, for an answer that is still being written. */
export function fromText(text, onCite) {
  const made = document.createDocumentFragment();
  let at = 0;
  for (const mark of text.matchAll(MARK)) {
    made.append(text.slice(at, mark.index));
    for (const number of mark[1].split(",")) made.append(citation(Number(number), onCite));
    at = mark.index + mark[0].length;
  }
  made.append(text.slice(at));
  return made;
}

export function citation(number, onCite) {
  return make("button", {
    type: "button", class: "citation", "data-n": number, "aria-label": t("openSource", number),
    onclick: (event) => onCite(number, event.currentTarget),
  }, String(number));
}

function webAddress(address) {
  return /^(https?:\/\/|mailto:)/i.test(address ?? "");
}

// Not an <a>: nothing is fetched ahead, and the address is shown before it is opened.
function link(address) {
  return make("button", {
    type: "button", class: "link", title: address,
    onclick: async () => {
      if (await confirmed(t("linkTitle"), address, t("open"))) {
        window.open(address, "_blank", "noopener,noreferrer");
      }
    },
  });
}
