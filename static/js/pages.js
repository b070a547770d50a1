// What forms and templates cannot do alone: ask before it counts, say when saving failed, and never lose what was typed.
(() => {
  "use strict";

  // The ticket for a new window was not needed: it does not have to stand in the address.
  if (/^#[\w-]+:[\w-]+:[\w-]+$/.test(location.hash)) history.replaceState(null, "", location.pathname + location.search);

  // A button with data-asks="id" first shows that panel; the panel's own submit button sends.
  document.addEventListener("click", (event) => {
    const asking = event.target.closest("[data-asks]");
    if (asking) {
      const panel = document.getElementById(asking.dataset.asks);
      if (asking.form && !asking.form.reportValidity()) {
        event.preventDefault();
        return;
      }
      event.preventDefault();
      panel.hidden = false;
      asking.setAttribute("aria-expanded", "true");
      panel.scrollIntoView({ block: "nearest" });
      panel.querySelector("button").focus();
      return;
    }
    const closing = event.target.closest("[data-closes]");
    if (closing) {
      const panel = document.getElementById(closing.dataset.closes);
      panel.hidden = true;
      const opener = document.querySelector(`[data-asks="${closing.dataset.closes}"]`);
      if (opener) {
        opener.setAttribute("aria-expanded", "false");
        opener.focus();
      }
      return;
    }
    const folding = event.target.closest("[data-folds]");
    if (folding) {
      const details = folding.closest("details");
      details.open = false;
      details.querySelector("summary").focus();
    }
  });

  // A click on a value copies it. The frame of an LMS forbids the clipboard's API, but not the copying of what is
  // selected; where that is forbidden too, the value stays selected for Ctrl+C.
  document.addEventListener("click", (event) => {
    const value = event.target.closest("input[data-copies]");
    if (!value) return;
    value.select();
    const word = value.parentElement.querySelector("[data-copied]");
    let isCopied = false;
    try {
      isCopied = document.execCommand("copy");
    } catch {
      isCopied = false;
    }
    word.textContent = isCopied ? "Copied" : "Press Ctrl+C to copy";
    setTimeout(() => (word.textContent = ""), isCopied ? 1600 : 6000);
  });

  // One box selects all rows of the page; the count stands on the button.
  const countSelected = () => {
    const boxes = [...document.querySelectorAll("input[name=person]")];
    const chosen = boxes.filter((box) => box.checked).length;
    for (const element of document.querySelectorAll("[data-selected-count]")) element.textContent = String(chosen);
    for (const element of document.querySelectorAll("[data-needs-selection]")) element.disabled = chosen === 0;
    const all = document.querySelector("[data-selects-all]");
    if (all) {
      all.checked = chosen > 0 && chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    }
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-selects-all]")) {
      for (const box of document.querySelectorAll("input[name=person]")) box.checked = event.target.checked;
    }
    if (event.target.matches("[data-selects-all], input[name=person]")) countSelected();
  });

  // Typed but not saved: say so before the page goes away.
  let unsaved = false;
  document.addEventListener("input", (event) => {
    if (event.target.closest("[data-keeps]")) unsaved = true;
  });
  document.addEventListener("submit", (event) => {
    if (event.target.closest("[data-keeps]")) unsaved = false;
  });
  window.addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault();
  });

  const flash = (text) => {
    const place = document.getElementById("flash");
    if (!place) return;
    place.querySelector("[data-flash-text]").textContent = text;
    place.hidden = !text;
  };

  // The link in the LMS asked for a section: go there, and mark it.
  const openSection = () => {
    const asked = document.querySelector("[data-opens-section]");
    const heading = asked && document.getElementById(decodeURIComponent(asked.hash.slice(1)));
    if (!heading) return;
    heading.classList.add("opened");
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    heading.scrollIntoView({ block: "start" });
  };

  document.addEventListener("DOMContentLoaded", () => {
    countSelected();
    openSection();
    document.body.addEventListener("htmx:afterSettle", countSelected);
    document.body.addEventListener("htmx:afterRequest", (event) => {
      if (event.detail.successful && event.detail.requestConfig.verb === "post") {
        flash("");
        if (event.detail.elt.closest("[data-keeps]")) unsaved = false;
      }
    });
    document.body.addEventListener("htmx:responseError", (event) => {
      if (event.detail.requestConfig.verb !== "post") return;
      const gone = [403, 404].includes(event.detail.xhr.status);
      flash(
        gone
          ? "Not saved: this visit has ended. Copy what you wrote, then open this page again from your course."
          : "Not saved: something went wrong on our side. What you typed is still here; try again in a minute.",
      );
    });
    document.body.addEventListener("htmx:sendError", (event) => {
      if (event.detail.requestConfig.verb !== "post") return;
      flash("Not saved: no connection. What you typed is still here; it can be saved once you are online again.");
    });
  });
})();
