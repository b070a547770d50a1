// Shows every <time data-local> in the browser's own zone, and says how far away it is. Without this, UTC stands there.
(() => {
  const page = document.documentElement.lang || "en";
  const locale = navigator.language.startsWith(page) ? navigator.language : page;
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  const clock = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
  const date = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
  const full = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long" });
  const day = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });
  const weekday = new Intl.DateTimeFormat(locale, { weekday: "short", day: "numeric", month: "short", year: "numeric" });

  const midnight = (when) => new Date(when.getFullYear(), when.getMonth(), when.getDate());
  const daysApart = (when) => Math.round((midnight(when) - midnight(new Date())) / 86400000);

  const away = (when) => {
    const seconds = Math.round((when - new Date()) / 1000);
    const size = Math.abs(seconds);
    if (size < 60) return relative.format(Math.sign(seconds) || 0, "minute");
    if (size < 3600) return relative.format(Math.trunc(seconds / 60), "minute");
    if (size < 86400) return relative.format(Math.trunc(seconds / 3600), "hour");
    return relative.format(daysApart(when), "day");
  };

  const show = (root) => {
    for (const element of root.querySelectorAll("time[data-local]")) {
      const when = new Date(element.dateTime);
      if (Number.isNaN(when.getTime())) continue;
      element.title = full.format(when);
      if (element.dataset.local === "away") {
        element.textContent = away(when);
      } else if (element.dataset.local === "short") {
        element.textContent = (daysApart(when) === 0 ? clock : day).format(when);
      } else {
        const days = daysApart(when);
        const near = days === 0 || days === -1 || days === 1 ? relative.format(days, "day") : null;
        const name = near || (element.dataset.local === "due" ? weekday : date).format(when);
        element.textContent = `${name}, ${clock.format(when)}`;
      }
    }
  };

  const ready = () => {
    show(document);
    document.body.addEventListener("htmx:afterSettle", () => show(document));
    document.body.addEventListener("htmx:oobAfterSwap", () => show(document));
    setInterval(() => show(document), 30000);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ready);
  else ready();
})();
