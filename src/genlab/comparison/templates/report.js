"use strict";

// An unknown figure has no value and stays below, whichever way a column is sorted.
function order(cell) {
  const value = cell.dataset.value;
  if (value === undefined || value === "") return null;
  const number = Number(value);
  return Number.isNaN(number) ? value : number;
}

function sortBy(header) {
  const table = header.closest("table");
  const first = header.dataset.first || "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const direction = header.getAttribute("aria-sort") === first ? other : first;
  for (const sorted of table.tHead.querySelectorAll("[aria-sort]")) sorted.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  for (const body of table.tBodies) {
    const rows = Array.from(body.rows, (row) => [order(row.cells[header.cellIndex]), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
      return sign * (a < b ? -1 : a > b ? 1 : 0);
    });
    const sorted = document.createDocumentFragment();
    for (const [, row] of rows) sorted.append(row);
    body.append(sorted);
  }
}

for (const button of document.querySelectorAll("table.sortable thead button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}

const dialog = document.getElementById("picture");
for (const button of document.querySelectorAll("button.open")) {
  button.addEventListener("click", () => {
    const small = button.querySelector("img");
    const large = dialog.querySelector("img");
    large.src = small.src;
    large.alt = small.alt;
    large.className = small.className;
    dialog.querySelector("p").textContent = small.alt;
    dialog.showModal();
  });
}
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
