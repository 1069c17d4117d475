// The chats of this tab, kept in sessionStorage. A chat is {id, turns}; the last one is open.

const KEY = "kogemma-chats";
const MAX_CHATS = 30;

let chats = read();

function read() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    if (Array.isArray(kept) && kept.length) return kept;
  } catch {
    // What cannot be read is as good as nothing.
  }
  return [{ id: crypto.randomUUID?.() ?? String(Date.now()), turns: [] }];
}

export const openChat = () => chats[chats.length - 1];

/** Chats with a question, the newest first. */
export const pastChats = () => chats.filter((chat) => chat.turns.length).reverse();

/** Store the chats; where they do not fit, the oldest go. */
export function keepChats() {
  chats = chats.slice(-MAX_CHATS);
  for (;;) {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(chats));
      return;
    } catch {
      if (chats.length === 1) return; // one chat beyond the quota lives until a reload
      chats = chats.slice(1);
    }
  }
}

export function newChat() {
  chats = chats.filter((chat) => chat.turns.length);
  chats.push({ id: crypto.randomUUID?.() ?? String(Date.now()), turns: [] });
  keepChats();
}

export function reopen(chat) {
  chats = [...chats.filter((other) => other !== chat && other.turns.length), chat];
  keepChats();
}

/** The questions and answers before a turn, as the messages of the API, and its question. */
export function messagesFor(turn) {
  const before = openChat().turns.slice(0, openChat().turns.indexOf(turn));
  const answered = before.filter((earlier) => earlier.state === "done");
  return [
    ...answered.flatMap((earlier) => [
      { role: "user", content: earlier.question },
      { role: "assistant", content: earlier.answer },
    ]),
    { role: "user", content: turn.question },
  ];
}
