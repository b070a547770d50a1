// The ticket stands behind the # of the address, so no server log and no Referer ever holds it.
(() => {
  const form = document.getElementById("new-window");
  const ticket = window.location.hash.slice(1);
  if (!form || !ticket) return;
  form.elements.ticket.value = ticket;
  history.replaceState(null, "", window.location.pathname + window.location.search);
  form.hidden = false;
  document.getElementById("without-ticket").hidden = true;
  form.addEventListener("submit", () => {
    window.setTimeout(() => {
      form.hidden = true;
      document.getElementById("opened").hidden = false;
    }, 0);
  });
})();
