// The panel beside the answer: the page or the text of a passage with its place marked, and the
// list of passages.

import { getJson, request } from "./api.js";
import { $, make, notify } from "./elements.js";
import { t } from "./messages.js";

let shown = null; // the source whose place is on view
let listed = null; // the turn whose passages are listed
let opener = null; // what had the focus before the panel
let pages = 0;

/** Where a passage stands, in one line; `short` names the nearest heading only. */
export function placeOf(source, { short = false } = {}) {
  // A document's title is its first heading in many formats, and no news after its file's name.
  const headings = (source.headings ?? []).filter((heading) => heading !== source.title);
  const named = short ? headings.slice(-1) : headings;
  return [source.source || source.title, ...partsOf(source), named.join(" › ")].filter(Boolean).join(" · ");
}

function partsOf({ page, slide, sheet, row }) {
  const parts = [page && t("pageOf", page), slide && t("slideOf", slide), sheet && t("sheetOf", sheet), row && t("rowOf", row)];
  return parts.filter(Boolean);
}

/** List the passages of a turn; `open` also opens the panel, at the first one cited. */
export function showSources(turn, { open }) {
  const isNew = listed !== turn;
  listed = turn;
  const cited = new Set(turn.citations.map((citation) => citation.n));
  $("passages").replaceChildren(...turn.sources.map((source) => passageItem(turn, source, cited.has(source.n))));
  if (!open) return;
  openPanel();
  const first = turn.citations[0];
  const source = turn.sources.find((one) => one.n === first?.n) ?? turn.sources[0];
  if (isNew && source) showSource({ ...source, start: first?.start, end: first?.end }, { focus: false });
}

function passageItem(turn, source, isCited) {
  const citation = turn.citations.find((one) => one.n === source.n);
  const show = () => showSource({ ...source, start: citation?.start, end: citation?.end }, { focus: true });
  const score = typeof source.score === "number" ? t("score", source.score.toFixed(2)) : "";
  return make("li", {}, make("button", { type: "button", "data-chunk": source.chunk_id, onclick: show },
    make("b", {}, String(source.n)),
    make("span", { class: "about" },
      make("span", { class: "name" }, placeOf(source, { short: true })),
      make("span", { class: "snippet" }, source.quote || withoutSigns(source.text).slice(0, 160))),
    make("span", { class: "score" }, score, isCited ? make("em", {}, t("cited")) : "")));
}

function openPanel() {
  if (!$("sources").contains(document.activeElement)) opener = document.activeElement;
  $("sources").hidden = false;
  $("desk").classList.add("with-sources");
}

export function closeSources() {
  $("sources").hidden = true;
  $("desk").classList.remove("with-sources");
  shown = listed = null;
  if (opener?.isConnected) opener.focus();
  else $("question").focus();
}

/** Show the place of a source, as a page where its document has pages to draw. */
export async function showSource(source, { focus }) {
  openPanel();
  shown = source;
  $("where").textContent = placeOf(source);
  for (const button of $("passages").querySelectorAll("button")) {
    if (button.dataset.chunk === source.chunk_id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  $("tabs").hidden = true;
  selectTab("text");
  if (focus) $("sources-title").focus({ preventScroll: true });
  const hasPages = Boolean(source.page) && /\.pdf$/i.test(source.source || source.title || "");
  await Promise.all([showText(source), hasPages && showPages(source)]);
}

async function showPages(source) {
  $("tabs").hidden = false;
  selectTab("page");
  await Promise.all([showPage(source, source.page), countPages(source)]);
}

async function countPages(source) {
  pages = 0;
  try {
    pages = (await getJson(`v1/documents/${encodeURIComponent(source.document_id)}`)).pages || 0;
  } catch {
    return; // the page itself says when its document is gone
  }
  updatePager();
}

function placeQuery(source) {
  const query = new URLSearchParams();
  if (source.chunk_id) query.set("chunk", source.chunk_id);
  if (Number.isInteger(source.start) && Number.isInteger(source.end)) {
    query.set("start", source.start);
    query.set("end", source.end);
  }
  return query.size ? `?${query}` : "";
}

async function showPage(source, number) {
  const view = $("view-page");
  const base = `v1/documents/${encodeURIComponent(source.document_id)}/pages/${number}`;
  const query = number === source.page ? placeQuery(source) : "";
  view.replaceChildren(make("p", { class: "hint" }, t("loading")));
  try {
    const [image, size] = await Promise.all([
      request(`${base}.png${query}`).then((response) => response.blob()),
      getJson(base + query),
    ]);
    if (shown !== source) return;
    const url = URL.createObjectURL(image);
    const picture = make("img", {
      src: url, alt: t("pageImage", number, source.source), width: Math.round(size.width), height: Math.round(size.height),
    });
    await picture.decode();
    URL.revokeObjectURL(url);
    if (shown !== source) return;
    const boxes = size.boxes.map(boxView);
    view.replaceChildren(pager(source, number), make("div", { class: "sheet" }, picture, ...boxes));
    updatePager();
    boxes[0]?.scrollIntoView({ block: "center", inline: "center" });
  } catch (error) {
    if (shown === source) view.replaceChildren(complaint(error.status ? error.message : t("pageLost")));
  }
}

const complaint = (text) => make("p", { class: "state error" }, text);

function boxView(box) {
  const node = make("span", { class: "box", "aria-hidden": "true" });
  for (const side of ["x", "y", "width", "height"]) node.style.setProperty(`--${side}`, box[side]);
  return node;
}

function pager(source, number) {
  const turnTo = (other) => async () => {
    await showPage(source, other);
    $("view-page").focus({ preventScroll: true });
  };
  const button = (side, sign, attributes) => make("button", {
    type: "button", class: `quiet small ${side}`, "aria-label": t(side), ...attributes,
  }, sign);
  return make("p", { class: "pager", "data-page": number },
    button("previous", "‹", { disabled: number <= 1, onclick: turnTo(number - 1) }),
    make("span", {}),
    button("next", "›", { onclick: turnTo(number + 1) }));
}

function updatePager() {
  const row = $("view-page").querySelector(".pager");
  if (!row) return;
  const number = Number(row.dataset.page);
  row.querySelector("span").textContent = t("pageOf", number, pages);
  row.querySelector(".next").disabled = number >= pages;
}

async function showText(source) {
  const view = $("view-text");
  view.replaceChildren(make("p", { class: "hint" }, t("loading")));
  try {
    const path = `v1/documents/${encodeURIComponent(source.document_id)}/text`;
    const answer = await getJson(path + placeQuery(source));
    if (shown !== source) return;
    view.replaceChildren(
      answer.more_before ? make("p", { class: "hint" }, "⋯") : "",
      ...sectionViews(answer.sections, answer.marks),
      answer.more_after ? make("p", { class: "hint" }, "⋯") : "");
    scrollToMark();
    if (!source.source) await nameSource(source, answer);
  } catch (error) {
    if (shown === source) view.replaceChildren(complaint(error.status === 404 ? t("textLost") : error.message));
  }
}

/** Fill in what an address does not tell: name, page, headings. */
async function nameSource(source, { document: about, sections, marks }) {
  const { text, ...place } = sections[marks[0]?.section ?? 0] ?? {};
  Object.assign(source, place, { source: about.title });
  $("where").textContent = placeOf(source);
  if (source.page && about.media_type === "application/pdf") await showPages(source);
}

function sectionViews(sections, marks) {
  let place = "";
  return sections.flatMap((section, index) => {
    // A text that begins with its heading names itself.
    const headings = section.text.startsWith("#") ? [] : section.headings;
    const about = [...partsOf(section), ...headings].join(" › ");
    const head = about && about !== place ? [make("h3", {}, about)] : [];
    place = about;
    const own = marks.filter((mark) => mark.section === index);
    return [...head, make("p", {}, ...markedText(section.text, own))];
  });
}

/** A text in pieces, those between the offsets of the marks (in code points) marked. */
function markedText(text, marks) {
  const points = Array.from(text); // offsets are Python's: a character outside the BMP counts once
  const pieces = [];
  let at = 0;
  for (const { start, end } of [...marks].sort((one, other) => one.start - other.start)) {
    if (start < at) continue;
    pieces.push(...withHeadings(points.slice(at, start).join("")), make("mark", {}, points.slice(start, end).join("")));
    at = end;
  }
  return [...pieces, ...withHeadings(points.slice(at).join(""))];
}

/** A text in pieces, its lines that begin with "# " as headings without that sign. */
function withHeadings(text) {
  return text.split(/^(#{1,6} .*)\n?$/m).map((piece, at) => {
    const plain = withoutSigns(piece);
    return at % 2 ? make("strong", {}, plain) : plain;
  });
}

/** A text without the signs of headings and the rules of tables. */
function withoutSigns(text) {
  return text.replace(/^#{1,6} /gm, "").replace(/^\|(?: ?:?-+:? ?\|)+\n/gm, "");
}

function scrollToMark() {
  $("view-text").querySelector("mark")?.scrollIntoView({ block: "center" });
}

function selectTab(name) {
  for (const other of ["page", "text"]) {
    $(`tab-${other}`).setAttribute("aria-selected", String(other === name));
    $(`tab-${other}`).tabIndex = other === name ? 0 : -1;
    $(`view-${other}`).hidden = other !== name;
  }
}

export function startSources() {
  $("close-sources").addEventListener("click", closeSources);
  for (const name of ["page", "text"]) {
    $(`tab-${name}`).addEventListener("click", () => {
      selectTab(name);
      if (name === "text") scrollToMark();
    });
  }
  $("tabs").addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const other = $("tab-page").tabIndex === 0 ? "text" : "page";
    $(`tab-${other}`).click();
    $(`tab-${other}`).focus();
  });
  $("sources").addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeSources();
  });
  window.addEventListener("hashchange", openAddress);
  openAddress();
}

/** Open the place that the address names: #/documents/ID?chunk=…&start=…&end=… */
function openAddress() {
  const named = /^#\/documents\/([^/?]+)(?:\?(.*))?$/.exec(location.hash);
  if (!named) return;
  const query = new URLSearchParams(named[2] ?? "");
  const offset = (name) => (/^\d+$/.test(query.get(name) ?? "") ? Number(query.get(name)) : null);
  let id;
  try {
    id = decodeURIComponent(named[1]);
  } catch {
    return notify(t("textLost"));
  }
  showSource({ document_id: id, chunk_id: query.get("chunk"), start: offset("start"), end: offset("end") }, { focus: true });
}
