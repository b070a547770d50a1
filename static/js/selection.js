// Counts what is chosen, and chooses a whole module at once.
(() => {
  "use strict";

  const boxes = (root) => [...root.querySelectorAll("input[name=item]")];

  const show = () => {
    const chosen = boxes(document).filter((box) => box.checked).length;
    for (const element of document.querySelectorAll("[data-picked-count]")) element.textContent = String(chosen);
    for (const element of document.querySelectorAll("[data-picked-too-many]")) {
      element.hidden = chosen <= Number(element.dataset.pickedTooMany);
    }
    for (const button of document.querySelectorAll("[data-picks-all]")) {
      button.hidden = boxes(button.closest("[data-picks-group]")).every((box) => box.checked);
    }
  };

  document.addEventListener("change", (event) => {
    if (event.target.matches("input[name=item]")) show();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-picks-all]");
    if (!button) return;
    const group = boxes(button.closest("[data-picks-group]"));
    for (const box of group) box.checked = true;
    show();
    group[0].focus();
  });
  document.addEventListener("DOMContentLoaded", () => {
    show();
    document.body.addEventListener("htmx:afterSettle", show);
  });
  window.addEventListener("pageshow", show);
})();
