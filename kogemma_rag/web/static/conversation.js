// Questions in, streamed answers with their citations on the page. Knows no documents' view.

import { events, post, sentence } from "./api.js";
import { keepChats, messagesFor, openChat } from "./chats.js";
import { $, announce, make, notify, wordButton } from "./elements.js";
import { feedbackButtons } from "./feedback.js";
import { fromHtml, fromText } from "./markup.js";
import { t } from "./messages.js";
import { placeOf, showSource, showSources } from "./sources.js";

const SENTENCE_END = /[.!?。\n]\s/g;

let running = null; // the AbortController of the answer being written
let model = "";

export const useModel = (name) => (model = name);

export const isAnswering = () => running !== null;

/** Ask a question; false while an answer is being written. */
export function ask(question) {
  if (running) {
    announce(t("busy"));
    notify(t("busy"));
    return false;
  }
  const turn = { question, answer: "", sources: [], citations: [], state: "writing" };
  openChat().turns.push(turn);
  keepChats();
  answerTurn(turn);
  return true;
}

export function stop() {
  running?.abort();
}

/** Show the turns of the open chat; an answer that a reload cut off counts as stopped. */
export function showChat() {
  stop();
  $("turns").replaceChildren();
  for (const turn of openChat().turns) {
    if (turn.state === "writing") turn.state = "stopped";
    $("turns").append(turnView(turn));
  }
  $("welcome").hidden = openChat().turns.length > 0;
  scrollDown();
}

async function answerTurn(turn) {
  $("welcome").hidden = true;
  const view = turnView(turn);
  $("turns").append(view);
  scrollDown();
  running = new AbortController();
  setBusy(true);
  announce(t("searching"));
  const speaker = sentences();
  try {
    await receive(turn, view, speaker);
    turn.state = "done";
  } catch (error) {
    turn.state = error.name === "AbortError" ? "stopped" : "failed";
    turn.error = error.name === "AbortError" ? "" : error.message;
  }
  running = null;
  setBusy(false);
  speaker.finish();
  keepChats();
  if (!view.isConnected) return; // another chat was opened meanwhile
  view.replaceWith(turnView(turn));
  announce(turn.state === "done" ? ending(turn) : turn.error || t("stopped"));
  if (turn.state === "done" && turn.answered) showSources(turn, { open: isWide() });
  scrollDown();
}

async function receive(turn, view, speaker) {
  const body = { model, messages: messagesFor(turn), stream: true };
  const response = await post("v1/chat/completions", body, running.signal);
  for await (const event of events(response)) {
    if (event.error) throw new Error(sentence(event.error));
    if (event.sources) turn.sources = event.sources;
    const choice = event.choices?.[0];
    const piece = choice?.delta?.content ?? "";
    if (piece) {
      turn.answer += piece;
      speaker.feed(piece);
      showText(turn, view);
    }
    if (choice?.finish_reason) {
      const { citations = [], answered = true, answer_html: html = "" } = event;
      Object.assign(turn, { citations, answered, html });
      if (event.sources) turn.sources = event.sources;
    }
  }
}

function showText(turn, view) {
  const follows = isAtEnd();
  view.querySelector(".waiting")?.remove();
  // A mark that is not complete yet waits for its end.
  const text = turn.answer.replace(/\s?\[[\d,\s]*$/, "");
  view.querySelector(".answer").replaceChildren(fromText(text, citer(turn)));
  if (follows) scrollDown();
}

/** The article of a turn: question, answer, sources, what can be done with it. */
function turnView(turn) {
  const writing = turn.state === "writing";
  const article = make("article", { class: `turn ${turn.state}`, "aria-busy": writing ? "true" : null });
  article.append(make("h2", { class: "asked" }, make("span", { class: "hidden" }, `${t("you")}: `), turn.question));
  const answer = make("div", { class: "answer" });
  if (writing) article.append(make("p", { class: "waiting" }, t("searching")));
  if (turn.state === "done" && !turn.answered) article.append(refusal());
  else if (turn.html && turn.state === "done") answer.append(fromHtml(turn.html, citer(turn)));
  else answer.append(fromText(turn.answer, citer(turn)));
  article.append(answer);
  if (turn.state === "stopped") article.append(make("p", { class: "state", "data-t": "stopped" }, t("stopped")));
  if (turn.state === "failed") article.append(make("p", { class: "state error" }, turn.error));
  if (turn.state === "done" && turn.answered) article.append(citedSources(turn));
  if (!writing) article.append(actions(turn, article));
  return article;
}

function refusal() {
  return make("div", { class: "refusal" },
    make("strong", { "data-t": "notFound" }, t("notFound")),
    make("span", { "data-t": "notFoundText" }, t("notFoundText")));
}

/** The cited sources as a list of buttons; a note where the answer names none. */
function citedSources(turn) {
  const numbers = [...new Set(turn.citations.map((citation) => citation.n))].sort((a, b) => a - b);
  if (!numbers.length) return make("p", { class: "state", "data-t": "unsourced" }, t("unsourced"));
  const list = make("ul", { class: "cited", "aria-label": t("sources") });
  for (const number of numbers) {
    const source = turn.sources[number - 1];
    if (!source) continue;
    list.append(make("li", {}, make("button", { type: "button", onclick: () => cite(turn, number, 0) },
      make("b", {}, String(number)), make("span", {}, placeOf(source, { short: true })))));
  }
  return list;
}

/** What a click on a citation does: the k-th mark of a number opens its k-th sentence. */
function citer(turn) {
  return (number, button) => {
    const marks = [...button.closest(".answer").querySelectorAll(`.citation[data-n="${number}"]`)];
    cite(turn, number, marks.indexOf(button));
  };
}

function cite(turn, number, occurrence) {
  const source = turn.sources.find((one) => one.n === number);
  if (!source) return;
  const sentencesOf = turn.citations.filter((citation) => citation.n === number);
  const { start, end } = sentencesOf[Math.min(occurrence, sentencesOf.length - 1)] ?? source;
  showSources(turn, { open: true });
  showSource({ ...source, start, end }, { focus: true });
}

function actions(turn, article) {
  const row = make("div", { class: "actions" });
  if (turn.state === "done") {
    row.append(wordButton("copy", () => copy(turn.answer), { class: "quiet small" }));
  }
  row.append(wordButton("retry", () => retry(turn, article), { class: "quiet small" }));
  if (turn.state === "done") row.append(...feedbackButtons(turn));
  return row;
}

function retry(turn, article) {
  if (running) return notify(t("busy"));
  const { turns } = openChat();
  turns.splice(turns.indexOf(turn), 1);
  article.remove();
  ask(turn.question);
  $("question").focus();
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https or the permission, the old way through a selection.
    const field = make("textarea", { class: "hidden" }, text);
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  notify(t("copied"));
}

/** Passes a stream on to the screen reader sentence by sentence, not word by word. */
function sentences() {
  let held = "";
  const say = (text) => text.trim() && announce(text.replace(/\s?\[[\d,\s]+\]/g, "").trim());
  return {
    feed(piece) {
      held += piece;
      const ends = [...held.matchAll(SENTENCE_END)];
      if (!ends.length) return;
      const end = ends[ends.length - 1].index + 1;
      say(held.slice(0, end));
      held = held.slice(end);
    },
    finish: () => say(held),
  };
}

function ending(turn) {
  if (!turn.answered) return t("notFound");
  return t("done", new Set(turn.citations.map((citation) => citation.n)).size);
}

function setBusy(busy) {
  // The button that has the focus must not take it away with it.
  const hadFocus = [$("send"), $("stop")].includes(document.activeElement);
  $("send").hidden = busy;
  $("stop").hidden = !busy;
  if (hadFocus) $("question").focus();
}

const isWide = () => matchMedia("(min-width: 900px)").matches;

function isAtEnd() {
  const box = $("conversation");
  return box.scrollHeight - box.scrollTop - box.clientHeight < 80;
}

function scrollDown() {
  $("conversation").scrollTop = $("conversation").scrollHeight;
}
