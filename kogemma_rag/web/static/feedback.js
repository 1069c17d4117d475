// Thumbs with a note under an answer.

import { post } from "./api.js";
import { keepChats } from "./chats.js";
import { icon, make, notify, wordButton } from "./elements.js";
import { t } from "./messages.js";

/** Two thumbs; pressing one asks for a note beside it. */
export function feedbackButtons(turn) {
  const up = thumb("up", "good");
  const down = thumb("down", "bad");
  const press = (rating, button) => {
    button.closest("article").querySelector("form.note")?.remove();
    const form = noteForm(turn, rating, () => mark(rating));
    button.closest(".actions").after(form);
    form.querySelector("input").focus();
  };
  const mark = (rating) => {
    up.setAttribute("aria-pressed", String(rating === "up"));
    down.setAttribute("aria-pressed", String(rating === "down"));
  };
  up.addEventListener("click", () => press("up", up));
  down.addEventListener("click", () => press("down", down));
  mark(turn.rating);
  return [up, down];
}

function thumb(side, word) {
  return make("button", {
    type: "button", class: `quiet small thumb ${side}`, "data-t-label": word, "aria-label": t(word), title: t(word),
  }, icon("thumb"));
}

function noteForm(turn, rating, onSent) {
  const note = make("input", { type: "text", maxlength: 1000, "aria-label": t("note"), placeholder: t("note") });
  const form = make("form", { class: "note" }, note, make("button", { type: "submit", class: "small" }, t("sendNote")));
  note.addEventListener("keydown", (event) => {
    // The Enter that ends a syllable must not send the form without it.
    if (event.key === "Enter" && (event.isComposing || event.keyCode === 229)) event.preventDefault();
    if (event.key === "Escape") form.remove();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { question, answer, sources } = turn;
    try {
      await post("v1/feedback", { question, answer, rating, note: note.value.normalize("NFC"), sources });
    } catch (error) {
      return notify(error.message);
    }
    turn.rating = rating;
    keepChats();
    form.remove();
    onSent();
    notify(t("thanks"));
  });
  return form;
}
