// Copy buttons, and a swatch beside colour fields. Everything else is forms and links.
document.addEventListener("click", function (event) {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const word = button.querySelector("[data-copy-word]");
  const say = function (text) {
    if (!word) return;
    const before = word.dataset.word || (word.dataset.word = word.textContent);
    word.textContent = text;
    window.setTimeout(function () { word.textContent = before; }, 1600);
  };
  const select = function () {
    const value = button.parentElement.querySelector(".p-copy-value");
    if (value) window.getSelection().selectAllChildren(value);
    say("Press Ctrl+C");
  };
  if (navigator.clipboard && window.isSecureContext) {
    navigator.clipboard.writeText(button.dataset.copy).then(function () { say("Copied"); }, select);
  } else {
    select();
  }
});

document.addEventListener("DOMContentLoaded", function () {
  document.querySelectorAll("input[data-color]").forEach(function (field) {
    const swatch = document.createElement("span");
    swatch.className = "p-swatch";
    const paint = function () { swatch.hidden = !/^#[0-9a-f]{6}$/i.test(field.value); swatch.style.backgroundColor = /^#[0-9a-f]{6}$/i.test(field.value) ? field.value : "transparent"; };
    field.insertAdjacentElement("afterend", swatch);
    field.addEventListener("input", paint);
    field.classList.add("p-color");
    paint();
  });
});
