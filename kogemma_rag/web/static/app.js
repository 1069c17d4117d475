// Starts the page: language, theme, keys, and which part hears of which.

import { getJson } from "./api.js";
import { newChat, openChat, pastChats, reopen } from "./chats.js";
import { startComposer } from "./composer.js";
import { ask, isAnswering, showChat, stop, useModel } from "./conversation.js";
import { startDocuments } from "./documents.js";
import { $, make } from "./elements.js";
import { language, speak, t } from "./messages.js";
import { closeSources, startSources } from "./sources.js";

const THEMES = ["auto", "light", "dark"];

let served = null; // {data: [model], index}
let documents = 0; // that are ready

function setTheme(name) {
  const theme = THEMES.includes(name) ? name : "auto";
  localStorage.setItem("kogemma-theme", theme);
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = t("theme", theme);
}

function setLanguage(name) {
  localStorage.setItem("kogemma-language", name);
  speak(name);
  $("language").textContent = language() === "ko" ? "English" : "한국어";
  $("language").lang = language() === "ko" ? "en" : "ko";
  setTheme(document.documentElement.dataset.theme);
  showNamed();
}

function showNamed() {
  if (!served) return;
  const { data: [model], index } = served;
  const quotes = model.quotes ? ` (${t("quotes")})` : "";
  $("named").textContent = t("named", model.id + quotes, index.name, documents);
}

async function nameModel() {
  try {
    served = await getJson("v1/models");
  } catch (error) {
    $("named").textContent = error.message;
    return;
  }
  useModel(served.data[0].id);
  showNamed();
}

function startNewChat() {
  newChat();
  closeSources();
  showChat();
  $("question").focus();
}

function openHistory() {
  const chats = pastChats();
  $("chats").replaceChildren(...chats.map((chat) => make("li", {}, make("button", {
    type: "button", "aria-current": chat === openChat() ? "true" : null,
    onclick: () => {
      $("history").close();
      reopen(chat);
      closeSources();
      showChat();
      $("question").focus();
    },
  }, chat.turns[0].question))));
  if (!chats.length) $("chats").append(make("li", { class: "hint" }, t("noChats")));
  $("history").showModal();
}

function startKeys() {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, dialog");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      $("question").focus();
    }
    if (event.key === "Escape" && event.target === $("question") && !event.isComposing) {
      if (!$("stop").hidden) stop();
      else if (!$("sources").hidden) closeSources();
    }
  });
  for (const button of document.querySelectorAll("dialog [data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
}

function start() {
  document.documentElement.dataset.theme = localStorage.getItem("kogemma-theme") ?? "auto";
  setLanguage(localStorage.getItem("kogemma-language") ?? "ko");
  $("language").addEventListener("click", () => {
    setLanguage(language() === "ko" ? "en" : "ko");
    if (!isAnswering()) showChat();
  });
  $("theme").addEventListener("click", () => {
    const now = THEMES.indexOf(document.documentElement.dataset.theme);
    setTheme(THEMES[(now + 1) % THEMES.length]);
  });
  $("new-chat").addEventListener("click", startNewChat);
  $("open-history").addEventListener("click", openHistory);
  $("stop").addEventListener("click", stop);
  startKeys();
  startComposer(ask);
  showChat();
  startSources();
  startDocuments((all) => {
    documents = all.filter((one) => one.state === "ready").length;
    showNamed();
  });
  nameModel();
  $("question").focus();
}

start();
