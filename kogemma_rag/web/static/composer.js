// The question's field: Enter sends once, also the Enter that ends a Hangul syllable.
//
// Browsers tell of that Enter in three ways: keydown while composing, then the end of the
// composition, and perhaps keydown again (Chrome); the end first, then keydown with code 229
// (Safari); keydown alone (no composition). One press must send once, in all of them.

import { $ } from "./elements.js";

const HANGUL = /^[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]*$/;
const IME_KEY = 229;

/** Call onSend with each question; it returns whether it took the question. */
export function startComposer(onSend) {
  const field = $("question");
  let composing = false;
  let wanted = false; // Enter was pressed within the composition
  let pressed = false; // this press of Enter has sent already

  const send = () => {
    wanted = false;
    const text = field.value.normalize("NFC").trim();
    if (!text || !onSend(text)) return;
    field.value = "";
    grow(field);
  };
  field.addEventListener("compositionstart", () => (composing = true));
  field.addEventListener("compositionend", (event) => {
    composing = false;
    // Enter that chose a Hanja or a Japanese word only ends the choice.
    if (!wanted || !HANGUL.test(event.data)) return (wanted = false);
    pressed = true;
    setTimeout(send); // the last syllable comes into the field after this event in some browsers
  });
  field.addEventListener("keydown", (event) => {
    const isEnter = event.key === "Enter" || /^(Numpad)?Enter$/.test(event.code);
    if (!isEnter || event.shiftKey) {
      wanted = false;
      return;
    }
    if (event.isComposing || composing) {
      wanted = !event.repeat;
      return; // the input method needs this key
    }
    event.preventDefault();
    if (pressed || event.repeat) return;
    pressed = true;
    if (event.keyCode === IME_KEY) setTimeout(send);
    else send();
  });
  field.addEventListener("keyup", (event) => {
    if (event.key === "Enter" || event.code.endsWith("Enter")) pressed = false;
  });
  field.addEventListener("blur", () => (pressed = wanted = false));
  field.addEventListener("input", () => {
    if (field.value.trim() && !wanted) pressed = false;
    grow(field);
  });
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
    field.focus();
  });
}

function grow(field) {
  field.style.setProperty("height", "auto");
  field.style.setProperty("height", `${Math.min(field.scrollHeight, 200)}px`);
}
