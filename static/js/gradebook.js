// The arrow keys lead from cell to cell, and the tab key past the table: nobody wants to pass two thousand scores.
(() => {
  "use strict";

  const ready = () => {
    const table = document.querySelector("table[data-arrows]");
    if (!table) return;
    const linkIn = (cell) => cell && cell.querySelector("a");
    let current = null;

    const show = () => {
      for (const link of table.querySelectorAll("tbody td a")) link.tabIndex = -1;
      if (!current || !current.isConnected) current = table.querySelector("tbody td");
      const link = linkIn(current);
      if (link) link.tabIndex = 0;
    };

    const at = (row, column) => {
      const found = table.tBodies[0].rows[row];
      return found ? found.cells[column] : undefined;
    };

    table.addEventListener("focusin", (event) => {
      const cell = event.target.closest("tbody td");
      if (!cell || cell === current) return;
      const before = linkIn(current);
      if (before) before.tabIndex = -1;
      current = cell;
      event.target.tabIndex = 0;
    });

    table.addEventListener("keydown", (event) => {
      const cell = event.target.closest("tbody td, tbody th");
      if (!cell || event.ctrlKey || event.altKey || event.metaKey) return;
      const row = cell.parentElement.sectionRowIndex;
      const column = cell.cellIndex;
      const last = cell.parentElement.cells.length - 1;
      const targets = {
        ArrowLeft: () => at(row, column - 1),
        ArrowRight: () => at(row, column + 1),
        ArrowUp: () => at(row - 1, column),
        ArrowDown: () => at(row + 1, column),
        Home: () => at(row, 0),
        End: () => at(row, last),
      };
      const target = targets[event.key] && targets[event.key]();
      if (!target) return;
      event.preventDefault();
      linkIn(target).focus();
    });

    show();
    // A cell that was replaced has a new link.
    document.body.addEventListener("htmx:afterSettle", show);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ready);
  else ready();
})();
