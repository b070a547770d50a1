// Sends the hand-off form by itself, except when the person came here with the Back button: they want to stay.
(() => {
  const form = document.getElementById("hand-off");
  const [navigation] = performance.getEntriesByType("navigation");
  if (!form || (navigation && navigation.type === "back_forward")) return;
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) form.requestSubmit();
  });
})();
