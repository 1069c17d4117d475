// The words of the page in two languages; marks elements by data-t, data-t-label, data-t-placeholder.

const KO = {
  title: "문서에 묻기", menu: "메뉴", skip: "질문 칸으로 건너뛰기",
  newChat: "새 대화", history: "지난 대화", documents: "문서",
  theme: (name) => ({ auto: "화면: 자동", light: "화면: 밝게", dark: "화면: 어둡게" })[name],
  conversation: "대화", question: "질문", placeholder: "문서에 물어보세요", send: "보내기", stop: "멈추기",
  keys: "Enter 보내기 · Shift+Enter 줄 바꿈 · / 질문 칸",
  welcome: "무엇이든 문서에 물어보세요",
  welcomeText: "문서에서 답을 찾아, 근거가 된 쪽과 문장을 함께 보여 드립니다.",
  welcomeDrop: "HWP, HWPX, PDF, Word, Excel, PowerPoint 파일이나 폴더를 이 화면에 끌어다 놓으면 바로 물을 수 있습니다.",
  sources: "출처", close: "닫기", view: "보는 방법", page: "원문 쪽", text: "글", passages: "찾은 문단",
  score: (value) => `점수 ${value}`, cited: "인용함",
  openSource: (n) => `출처 ${n} 열기`, you: "질문", answerOf: "답",
  searching: "문서를 찾고 있습니다…", writing: "답을 쓰고 있습니다…",
  stopped: "멈췄습니다.", done: (n) => (n ? `답이 끝났습니다. 출처 ${n}개.` : "답이 끝났습니다."),
  notFound: "문서에서 찾지 못했습니다", notFoundText: "다른 말로 묻거나 문서를 더해 보세요.",
  unsourced: "모델이 근거를 밝히지 않은 답입니다. 문서에서 확인하세요.",
  copy: "복사", copied: "복사했습니다.", retry: "다시", good: "도움이 됨", bad: "도움이 안 됨",
  note: "메모(선택)", sendNote: "의견 보내기", thanks: "의견을 저장했습니다.",
  busy: "답이 끝나면 보낼 수 있습니다.",
  historyText: "대화는 이 브라우저 탭에만 남고, 탭을 닫으면 지워집니다.", noChats: "지난 대화가 없습니다.",
  drop: "파일이나 폴더를 여기에 끌어다 놓으세요.", dropHere: "여기에 놓으면 문서에 더합니다",
  chooseFiles: "파일 고르기", chooseFolder: "폴더 고르기", sync: "폴더 다시 살피기",
  synced: "문서 폴더를 다시 살핍니다.",
  formats: "HWP · HWPX · PDF · DOCX · XLSX · PPTX · HTML · Markdown · TXT · EML",
  filter: "문서 이름으로 찾기", noDocuments: "아직 문서가 없습니다.",
  more: (n) => `외 ${n}개. 이름으로 찾아보세요.`,
  states: { uploading: "올리는 중", queued: "기다리는 중", parsing: "읽는 중", embedding: "색인하는 중", ready: "준비됨", failed: "실패" },
  chunks: (n) => `문단 ${n}개`, pages: (n) => `${n}쪽`,
  remove: "삭제", replace: "교체", cancel: "취소", confirm: "확인", open: "열기",
  removeTitle: "문서를 삭제할까요?", removeText: (name) => `'${name}' 문서가 곧바로 답에서 빠집니다.`,
  removed: (name) => `'${name}' 문서를 삭제했습니다.`, ready: (name) => `'${name}' 문서가 준비되었습니다.`,
  failed: (name) => `'${name}' 문서를 읽지 못했습니다.`,
  linkTitle: "밖의 주소를 열까요?",
  tokenTitle: "접속 토큰", tokenText: "서버를 시작할 때 나온 토큰을 적으세요. 이 탭에만 보관합니다.", token: "토큰",
  pageOf: (n, all) => (all ? `${n} / ${all}쪽` : `${n}쪽`), previous: "이전 쪽", next: "다음 쪽",
  slideOf: (n) => `슬라이드 ${n}`, sheetOf: (name) => `시트 ${name}`, rowOf: (n) => `${n}행`,
  pageImage: (n, name) => `${name} ${n}쪽의 그림`, loading: "불러오는 중…",
  pageLost: "쪽을 그리지 못했습니다. 글로 보세요.", textLost: "글을 불러오지 못했습니다. 문서가 삭제되었을 수 있습니다.",
  named: (model, index, n) => `모델 ${model} · 색인 ${index} · 문서 ${n}개`,
  quotes: "새로 쓰지 않고 문서의 문장을 그대로 옮김",
  unreachable: "서버에 닿지 않습니다. 서버가 켜져 있는지 확인하세요.", broken: "답이 중간에 끊겼습니다. 다시 시도하세요.",
};

// What the server's errors say by their codes; a wait is in seconds, 0 where none is known.
const soon = (wait) => (wait ? `in ${wait} s` : "in a while");
const ERRORS = {
  busy: (wait) => `Many questions are waiting. Try again ${soon(wait)}.`,
  too_often: (wait) => `Too many requests. Try again ${soon(wait)}.`,
  model_busy: (wait) => `The model is busy. Try again ${soon(wait)}.`,
  timeout: () => "It took too long. Shorten the question, or try again in a while.",
  context_length_exceeded: () => "This is longer than the model can read at once. Shorten the question, or start a new chat.",
  invalid_value: () => "The server cannot take this request. Shorten the question, or start a new chat.",
  too_large: () => "This is larger than the server takes at once. Send it in parts.",
  model_failed: () => "The model failed. See the server's log.",
  model_not_found: () => "The server has another model now. Reload this page.",
  index_unavailable: () => "The index cannot be used now. See the server's log.",
  internal_error: () => "The server failed. Find the X-Request-ID in its log.",
  not_found: () => "There is no such document or page; it may be deleted.",
  unreadable: () => "The document cannot be read; it may be damaged or need a password.",
  too_many_documents: () => "The server has too many documents. Delete some, and send this one again.",
  file_of_folder: () => "This file is in the server's folder: correct it there, and scan the folder again.",
  not_failed: () => "Only documents that failed can be tried again.",
  no_folder: () => "The server has no folder to scan. Start it with --documents.",
  unsupported_media_type: () => "The server does not take files in this form.",
  invalid_api_key: () => "The token is missing or wrong.",
  invalid_filter: () => "The filter was not understood.",
  not_allowed: () => "The server does not do this at that address.",
  wrong_host: () => "The server does not go by this name. Add it with --allowed-host.",
  wrong_origin: () => "Pages of other sites may not ask this server.",
};

const EN = {
  title: "Ask your documents", menu: "Menu", skip: "Skip to the question",
  newChat: "New chat", history: "History", documents: "Documents",
  theme: (name) => ({ auto: "Theme: auto", light: "Theme: light", dark: "Theme: dark" })[name],
  conversation: "Conversation", question: "Question", placeholder: "Ask your documents", send: "Send", stop: "Stop",
  keys: "Enter sends · Shift+Enter new line · / to the question",
  welcome: "Ask your documents anything",
  welcomeText: "Answers come from your documents, with the page and the sentence they rest on.",
  welcomeDrop: "Drop HWP, HWPX, PDF, Word, Excel or PowerPoint files or a folder here and ask at once.",
  sources: "Sources", close: "Close", view: "View", page: "Page", text: "Text", passages: "Passages found",
  score: (value) => `score ${value}`, cited: "cited",
  openSource: (n) => `Open source ${n}`, you: "Question", answerOf: "Answer",
  searching: "Searching the documents…", writing: "Writing the answer…",
  stopped: "Stopped.", done: (n) => (n ? `The answer is complete. ${n} sources.` : "The answer is complete."),
  notFound: "Not in the documents", notFoundText: "Ask in other words, or add documents.",
  unsourced: "The model named no source for this answer. Check it in the documents.",
  copy: "Copy", copied: "Copied.", retry: "Retry", good: "Helpful", bad: "Not helpful",
  note: "Note (optional)", sendNote: "Send feedback", thanks: "Your feedback is saved.",
  busy: "You can send when the answer is complete.",
  historyText: "Chats stay in this browser tab only and go when it is closed.", noChats: "No earlier chats.",
  drop: "Drop files or a folder here.", dropHere: "Drop to add to the documents",
  chooseFiles: "Choose files", chooseFolder: "Choose a folder", sync: "Scan the folder again",
  synced: "Scanning the folder of documents again.",
  formats: "HWP · HWPX · PDF · DOCX · XLSX · PPTX · HTML · Markdown · TXT · EML",
  filter: "Find by name", noDocuments: "No documents yet.",
  more: (n) => `and ${n} more; find them by name.`,
  states: { uploading: "uploading", queued: "queued", parsing: "parsing", embedding: "embedding", ready: "ready", failed: "failed" },
  chunks: (n) => `${n} passages`, pages: (n) => `${n} pages`,
  remove: "Delete", replace: "Replace", cancel: "Cancel", confirm: "OK", open: "Open",
  removeTitle: "Delete the document?", removeText: (name) => `"${name}" stops answering at once.`,
  removed: (name) => `"${name}" is deleted.`, ready: (name) => `"${name}" is ready.`,
  failed: (name) => `"${name}" could not be read.`,
  linkTitle: "Open an outside address?",
  tokenTitle: "Access token", tokenText: "Enter the token that the server printed at its start. Only this tab keeps it.", token: "Token",
  pageOf: (n, all) => (all ? `page ${n} of ${all}` : `page ${n}`), previous: "Previous page", next: "Next page",
  slideOf: (n) => `slide ${n}`, sheetOf: (name) => `sheet ${name}`, rowOf: (n) => `row ${n}`,
  pageImage: (n, name) => `Image of ${name}, page ${n}`, loading: "Loading…",
  pageLost: "The page cannot be drawn. See the text.", textLost: "The text cannot be loaded. The document may be deleted.",
  named: (model, index, n) => `Model ${model} · index ${index} · ${n} documents`,
  quotes: "quotes the documents, writes nothing of its own",
  unreachable: "The server does not answer. Check that it is running.", broken: "The answer broke off. Try again.",
  error: (code, wait) => ERRORS[code]?.(wait),
};

let words = KO;

export function t(key, ...values) {
  const word = words[key];
  return typeof word === "function" ? word(...values) : word;
}

export const language = () => (words === KO ? "ko" : "en");

/** Write the words of a language into every marked element. */
export function speak(name) {
  words = name === "en" ? EN : KO;
  document.documentElement.lang = language();
  document.title = `${t("title")} · kogemma-rag`;
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]")) {
    node.setAttribute("aria-label", t(node.dataset.tLabel));
  }
  for (const node of document.querySelectorAll("[data-t-placeholder]")) {
    node.setAttribute("placeholder", t(node.dataset.tPlaceholder));
  }
}
