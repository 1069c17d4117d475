// Requests to the server, with the token where one is asked for; nothing else reaches the network.

import { $ } from "./elements.js";
import { t } from "./messages.js";

const TOKEN = "kogemma-token";

/** What went wrong, in a sentence of the page's language. */
export class ApiError extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

let asking = null;

function askToken() {
  // Requests that fail together share one dialog.
  asking ??= new Promise((resolve) => {
    const dialog = $("token-dialog");
    $("token").value = dialog.returnValue = "";
    dialog.showModal();
    dialog.addEventListener("close", () => {
      asking = null;
      if (dialog.returnValue !== "yes") return resolve(false);
      sessionStorage.setItem(TOKEN, $("token").value.trim());
      $("token").value = "";
      resolve(true);
    }, { once: true });
  });
  return asking;
}

/** The response to a request that succeeded; asks for a token, again when it is wrong. */
export async function request(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, t("unreachable"));
  }
  if (response.status === 401) {
    if (sessionStorage.getItem(TOKEN) !== token || (await askToken())) return request(path, options);
  }
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response) {
  const wait = Number(response.headers.get("Retry-After")) || 0;
  let message = `${response.status} ${response.statusText}`;
  try {
    message = sentence((await response.json()).error, wait) || message;
  } catch {
    // An error without a body of ours keeps its status as its message.
  }
  return new ApiError(response.status, message, wait);
}

/** An error object of the server as a sentence; its own message is in Korean. */
export function sentence({ code, message }, wait = 0) {
  return t("error", code, wait) ?? message;
}

export async function getJson(path, options) {
  return (await request(path, options)).json();
}

export function post(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

/** The JSON values of a stream of server-sent events, up to [DONE]. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new ApiError(0, t("broken"));
    text += value.replaceAll("\r", "");
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n").filter((line) => line.startsWith("data:"));
      const data = lines.map((line) => line.slice(5).trimStart()).join("\n");
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data); // else a comment that keeps the connection alive
    }
  }
}
