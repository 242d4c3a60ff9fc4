"use strict";
const table = document.querySelector("table[data-table=rollouts]"), body = table.tBodies[0];
const rows = [...body.rows], titles = [...table.tHead.rows[0].cells];
const search = document.querySelector(".filters input"), choice = document.querySelector(".filters select");

/** Show the rows that hold the text and the verdict. */
function filter() {
  const text = search.value.toLowerCase(), verdict = choice?.value ?? "";
  for (const row of rows) {
    const verdicts = [...row.querySelectorAll("[data-verdict]")].map((cell) => cell.dataset.verdict);
    row.hidden = !row.textContent.toLowerCase().includes(text) || (verdict !== "" && !verdicts.includes(verdict));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  document.querySelector(".filters .shown").textContent = `${shown} of ${rows.length} are shown.`;
}

/** Sort by a column: numbers by value, texts as people do; the other way round when pressed again. */
function sort(column) {
  const upwards = titles[column].ariaSort !== "ascending", way = upwards ? 1 : -1;
  titles.forEach((title) => title.removeAttribute("aria-sort"));
  titles[column].ariaSort = upwards ? "ascending" : "descending";
  const text = (row) => row.cells[column].textContent;
  const order = new Intl.Collator(undefined, { numeric: true }).compare;
  const compare = titles[column].className === "number" ? (a, b) => a - b : order;
  body.append(...rows.sort((a, b) => way * compare(text(a), text(b))));
}

titles.forEach((title, column) => title.querySelector("button").addEventListener("click", () => sort(column)));
search.addEventListener("input", filter);
choice?.addEventListener("change", filter);
filter();
