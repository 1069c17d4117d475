"use strict";
// Sorting of tables and a filter of failures; the page is whole without them.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].textContent;
      const number = (text) => parseFloat(text.replaceAll(",", "").replace("−", "-"));
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [number(key(a)), number(key(b))];
        if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y) || key(a).localeCompare(key(b), "ko") * (down ? -1 : 1);
        return down ? y - x : x - y;
      });
      body.replaceChildren(...rows);
    });
  });
}
const form = document.querySelector("form.filter");
if (form) {
  const words = document.getElementById("words");
  const system = document.getElementById("system");
  const show = () => {
    const wanted = words.value.normalize("NFC").toLowerCase();
    let count = 0;
    for (const group of document.querySelectorAll("details.group")) {
      let left = 0;
      const title = group.querySelector("summary").textContent;
      for (const failure of group.querySelectorAll(".failure")) {
        const text = (title + failure.textContent).toLowerCase();
        const stays = text.includes(wanted) && (!system?.value || failure.classList.contains(system.value));
        failure.hidden = !stays;
        left += stays;
      }
      group.hidden = !left;
      if (wanted && left) group.open = true;
      count += left;
    }
    document.getElementById("shown").textContent = `${count}개 보임`;
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", show);
  show();
}
