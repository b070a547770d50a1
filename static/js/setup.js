// Copy buttons of the set-up guides. Where the LMS's frame forbids the clipboard, the value is selected instead.
(() => {
  "use strict";

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-setup-copy]");
    if (!button) return;
    const value = button.parentElement.querySelector(".setup-value");
    const word = button.querySelector("[data-setup-word]");
    const say = (text) => {
      word.textContent = text;
      setTimeout(() => { word.textContent = "Copy"; }, 1600);
    };
    const select = () => {
      getSelection().selectAllChildren(value);
      say("Press Ctrl+C");
    };
    if (navigator.clipboard && isSecureContext) {
      navigator.clipboard.writeText(value.textContent).then(() => say("Copied"), select);
    } else {
      select();
    }
  });
})();
