// Sorting and searching of tables. The page is complete without it.
"use strict";

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function value(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = parseFloat(text.replace(/,/g, ""));
  if (row.cells[column].classList.contains("num")) return Number.isNaN(number) ? -Infinity : number;
  return text;
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b);
}

function sort(table, header, column) {
  const descending = header.getAttribute("aria-sort") === "descending" ||
    (!header.hasAttribute("aria-sort") && !header.classList.contains("num")) ? 1 : -1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending === 1 ? "ascending" : "descending");
  for (const body of table.tBodies) {
    const rows = Array.from(body.rows).filter((row) => !row.classList.contains("group"));
    const keyed = rows.map((row) => [value(row, column), row]);
    keyed.sort((a, b) => descending * compare(a[0], b[0]));
    body.append(...keyed.map((pair) => pair[1]));
  }
}

function makeSortable(table) {
  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, header, column));
    header.append(button);
  });
}

function makeSearchable(box, table) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const found = document.createElement("output");
  label.append(box.dataset.filter + " ", input);
  input.type = "search";
  found.className = "quiet";
  box.prepend(label, found);
  const texts = new Map();
  for (const row of table.querySelectorAll("tbody tr:not(.group)")) texts.set(row, row.textContent.toLowerCase());
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let count = 0;
    for (const [row, text] of texts) {
      row.hidden = !text.includes(wanted);
      if (!row.hidden) count += 1;
    }
    for (const group of table.querySelectorAll("tr.group")) {
      group.hidden = !group.parentNode.querySelector("tr:not(.group):not([hidden])");
    }
    found.textContent = wanted ? " " + count.toLocaleString("en") + " of " + texts.size.toLocaleString("en") : "";
  });
}

for (const box of document.querySelectorAll(".sortable")) {
  const table = box.querySelector("table");
  makeSortable(table);
  if (box.dataset.filter) makeSearchable(box, table);
}
