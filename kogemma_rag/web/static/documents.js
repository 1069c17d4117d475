// The drawer of documents: files in, their states, delete, replace, retry.

import { getJson, post, request } from "./api.js";
import { dropped, picked } from "./dropped_files.js";
import { $, announce, confirmed, make, notify, wordButton } from "./elements.js";
import { t } from "./messages.js";

const MAX_SHOWN = 200;
const WORKING = new Set(["queued", "parsing", "embedding"]);
const BUSY_PAUSE = 1000; // milliseconds between two looks
const IDLE_PAUSE = 10_000;
const DRAW_PAUSE = 200; // where many files come at once
const UPLOADS = 4; // at a time

let known = new Map(); // documents by id
let taken = new Map(); // of these, what came since the look that is under way began
let uploads = []; // what the server has not taken yet: {title, state, reason}
let timer;
let drawing;
let looking = false;
let stale = false; // something changed since the look that is under way began
let onChange = () => {};

export function startDocuments(changed) {
  onChange = changed;
  $("open-documents").addEventListener("click", openDocuments);
  $("choose-files").addEventListener("click", () => $("files").click());
  $("choose-folder").addEventListener("click", () => $("folder").click());
  for (const id of ["files", "folder"]) {
    $(id).addEventListener("change", () => {
      upload(picked($(id).files));
      $(id).value = "";
    });
  }
  $("filter").addEventListener("input", showList);
  $("sync").addEventListener("click", sync);
  acceptDrops();
  look();
}

function openDocuments() {
  if (!$("documents").open) $("documents").showModal();
  look();
}

function acceptDrops() {
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  const show = (on) => ($("dropping").hidden = !on);
  window.addEventListener("dragenter", (event) => carriesFiles(event) && ++depth && show(true));
  window.addEventListener("dragleave", (event) => {
    if (carriesFiles(event) && (depth = Math.max(0, depth - 1)) === 0) show(false);
  });
  window.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  window.addEventListener("drop", async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    const files = dropped(event.dataTransfer); // read at once: the transfer is gone after this event
    openDocuments();
    try {
      upload(await files);
    } catch (error) {
      notify(error.message); // a file that went away while its folder was read
    }
  });
}

/** Send files one by one, so that one that is refused leaves the others alone. */
async function upload(files, replaced) {
  const waiting = files.map(({ file, name }) => ({ file, title: name, state: "uploading" }));
  uploads = [...waiting.slice().reverse(), ...uploads];
  showList();
  const send = async () => {
    for (let one = waiting.shift(); one; one = waiting.shift()) await sendOne(one, replaced);
  };
  const looks = setInterval(look, BUSY_PAUSE);
  await Promise.all(Array.from({ length: UPLOADS }, send));
  clearInterval(looks);
  look();
}

async function sendOne(one, replaced) {
  const form = new FormData();
  form.append("file", one.file, one.title);
  if (replaced) form.append("replace", replaced);
  try {
    const { data } = await getJson("v1/documents", { method: "POST", body: form });
    for (const document of data) {
      known.set(document.id, document);
      taken.set(document.id, document);
    }
    uploads = uploads.filter((other) => other !== one);
  } catch (error) {
    if (error.status === 429) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter || 1)));
      return sendOne(one, replaced);
    }
    Object.assign(one, { state: "failed", reason: error.message });
    announce(t("failed", one.title));
  }
  drawing ??= setTimeout(() => {
    drawing = null;
    showList();
  }, DRAW_PAUSE);
}

/** Read the states again, soon while something is worked on, else now and then. */
async function look() {
  stale = true;
  if (looking) return;
  looking = true;
  clearTimeout(timer);
  let pause = 0;
  while (stale && !pause) {
    stale = false;
    pause = await readStates();
  }
  looking = false;
  const busy = [...known.values()].some((one) => WORKING.has(one.state));
  timer = setTimeout(look, Math.max(pause, busy ? BUSY_PAUSE : IDLE_PAUSE));
}

/** Read the states once; how many milliseconds the server wants to be left alone. */
async function readStates() {
  try {
    taken = new Map();
    const { data, folder } = await getJson("v1/documents");
    const before = known;
    known = new Map([...taken, ...data.map((one) => [one.id, one])]);
    $("sync").hidden = !folder;
    for (const one of data) tellChange(before.get(one.id), one);
    showList();
    onChange(data);
    return 0;
  } catch (error) {
    $("documents-note").textContent = error.message;
    return 1000 * (error.retryAfter || 0);
  }
}

function tellChange(before, now) {
  if (!before || before.state === now.state) return;
  if (now.state === "ready") announce(t("ready", now.title));
  if (now.state === "failed") announce(t("failed", now.title));
}

function showList() {
  const wanted = $("filter").value.normalize("NFC").toLowerCase();
  const all = [...uploads, ...known.values()];
  const rank = (one) => (one.state === "ready" ? 1 : 0); // what needs eyes comes first
  const found = all.filter((one) => one.title.toLowerCase().includes(wanted)).sort((a, b) => rank(a) - rank(b));
  const focused = document.activeElement?.dataset?.key;
  $("document-list").replaceChildren(...found.slice(0, MAX_SHOWN).map(documentItem));
  if (focused) $("document-list").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  $("documents-note").textContent = all.length ? (found.length > MAX_SHOWN ? t("more", found.length - MAX_SHOWN) : "") : t("noDocuments");
  $("document-count").textContent = String(known.size);
  $("document-count").hidden = !known.size;
}

function documentItem(one) {
  const item = make("li", { class: `document ${one.state}`, "data-id": one.id });
  const facts = [one.chunks ? t("chunks", one.chunks) : "", one.pages ? t("pages", one.pages) : "", size(one.size)];
  item.append(make("div", { class: "about" },
    make("span", { class: "name" }, one.title),
    make("span", { class: "facts" }, make("span", { class: "badge" }, t("states")[one.state] ?? one.state), one.state === "ready" ? facts.filter(Boolean).join(" · ") : "")));
  if (WORKING.has(one.state)) {
    item.append(make("progress", { max: 1, value: one.progress || null, "aria-label": `${one.title}: ${t("states")[one.state]}` }));
  }
  const told = [one.reason, ...(one.skipped ?? []).map(({ part, reason }) => `${part}: ${reason}`)];
  const lang = one.id ? "ko" : null; // what the server found in a document it tells in Korean
  item.append(...told.filter(Boolean).map((text) => make("p", { class: "reason", lang }, text)));
  item.append(make("div", { class: "buttons" }, ...itemButtons(one)));
  return item;
}

function itemButtons(one) {
  const button = (word, onclick) => wordButton(word, onclick, {
    class: "quiet small", "data-key": `${word} ${one.id ?? one.title}`, "aria-label": `${one.title}: ${t(word)}`,
  });
  if (!one.id) {
    if (one.state !== "failed") return [];
    const forget = () => {
      uploads = uploads.filter((other) => other !== one);
      showList();
    };
    return [
      button("retry", () => (forget(), upload([{ file: one.file, name: one.title }]))),
      button("remove", forget),
    ];
  }
  return [
    ...(one.state === "failed" ? [button("retry", () => retry(one))] : []),
    ...(one.uploaded ? [button("replace", () => replace(one))] : []),
    button("remove", () => remove(one)),
  ];
}

async function retry(one) {
  await tried(() => post(`v1/documents/${encodeURIComponent(one.id)}/retry`, {}));
}

function replace(one) {
  const input = $("replacement");
  input.onchange = () => {
    if (input.files.length) upload(picked(input.files), one.id);
    input.value = "";
  };
  input.click();
}

async function remove(one) {
  if (!(await confirmed(t("removeTitle"), t("removeText", one.title), t("remove")))) return;
  const done = await tried(() => request(`v1/documents/${encodeURIComponent(one.id)}`, { method: "DELETE" }));
  $("filter").focus();
  if (done) announce(t("removed", one.title));
}

async function sync() {
  if (await tried(() => post("v1/documents/sync", {}))) notify(t("synced"));
}

async function tried(action) {
  try {
    await action();
    return true;
  } catch (error) {
    notify(error.message);
    return false;
  } finally {
    await look();
  }
}

function size(bytes) {
  if (!bytes) return "";
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
