// Sorting, searching, copying, and charts that answer the pointer. The page is complete without it.
(() => {
  "use strict";

  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  // A row that says in one wide cell that it has no numbers ("not trained") lacks the last ones.
  function value(row, column) {
    const cell = row.cells[column];
    const text = cell ? cell.textContent.trim() : "";
    if (cell && !cell.classList.contains("num")) return text;
    const number = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) ? -Infinity : number;
  }

  // As people type it: without capitals and accents.
  function plain(text) {
    return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
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

  // Shows only what holds all the words that are typed: rows of a table, or pictures of galleries.
  function makeSearchable(box) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const found = document.createElement("output");
    label.append(box.dataset.filter + " ", input);
    input.type = "search";
    found.className = "quiet";
    box.prepend(label, found);
    const items = Array.from(box.querySelectorAll(".gallery > li, tbody tr:not(.group)"));
    const texts = items.map((item) => {
      const lot = item.closest(".lot");
      return plain([item.textContent, item.dataset.words, lot && lot.dataset.words].join(" "));
    });
    input.addEventListener("input", () => {
      const words = plain(input.value).split(/\s+/);
      let count = 0;
      items.forEach((item, place) => {
        item.hidden = !words.every((word) => texts[place].includes(word));
        if (!item.hidden) count += 1;
      });
      for (const part of box.querySelectorAll("tbody, .lot")) {
        part.hidden = !part.querySelector("tr:not(.group):not([hidden]), .gallery > li:not([hidden])");
      }
      const wanted = input.value.trim() !== "";
      for (const more of box.querySelectorAll("details:has(> .gallery)")) more.open = wanted;
      found.textContent = wanted ? " " + count.toLocaleString("en") + " of " + items.length.toLocaleString("en") : "";
    });
  }

  function makeCopyable(box) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = box.dataset.copy;
    const text = box.innerText;
    button.addEventListener("click", async () => {
      const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
      button.textContent = copied ? "Copied" : "The browser does not allow it: mark the text and copy it";
    });
    box.after(button);
  }

  // On paper no table is folded; further pictures and what the steps recorded would be a hundred pages more.
  function unfold() {
    const folded = Array.from(document.querySelectorAll("details:not([open]):is(:has(> .table), .words)"));
    addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }), { once: true });
    for (const details of folded) details.open = true;
  }

  // Vega draws over the still picture. It interprets its expressions (ast), since the page's policy forbids eval.
  async function enliven(plot, specification) {
    const live = plot.cloneNode(false);
    const { view } = await vegaEmbed(live, specification, {
      actions: false,
      ast: true,
      defaultStyle: false,
      renderer: "svg",
      tooltip: { disableDefaultStyle: true },
    });
    plot.replaceWith(live);
    view.addEventListener("click", (event, item) => {
      const input = document.querySelector("section[aria-labelledby=coverage] input");
      if (!input || !item || !item.datum || !item.datum.find) return;
      input.value = item.datum.find;
      input.dispatchEvent(new Event("input"));
      input.focus();
    });
  }

  for (const box of document.querySelectorAll(".sortable")) makeSortable(box.querySelector("table"));
  for (const box of document.querySelectorAll("[data-filter]")) makeSearchable(box);
  if (navigator.clipboard) for (const box of document.querySelectorAll("[data-copy]")) makeCopyable(box);
  addEventListener("beforeprint", unfold);
  const specifications = JSON.parse(document.getElementById("charts").textContent);
  for (const plot of document.querySelectorAll("[data-chart]")) enliven(plot, specifications[plot.dataset.chart]);
})();
