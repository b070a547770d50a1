// Times are typed in the browser's own zone and sent in UTC; without this they are in UTC, as the page says then.
(() => {
  "use strict";
  const two = (number) => String(number).padStart(2, "0");
  const local = (when) =>
    `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}T${two(when.getHours())}:${two(when.getMinutes())}`;
  const form = document.querySelector("form[data-times]");
  if (!form) return;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const field of form.querySelectorAll("input[data-moment]")) {
    const stored = field.dataset.moment;
    const when = new Date(/[zZ]|[+-]\d\d:\d\d$/.test(stored) ? stored : `${stored}Z`);
    field.value = stored && !Number.isNaN(when.getTime()) ? local(when) : field.value;
  }
  for (const words of form.querySelectorAll("[data-zone]")) words.textContent = `The time is in your own zone (${zone}).`;
  form.addEventListener("formdata", (event) => {
    for (const field of form.querySelectorAll("input[data-moment]")) {
      const when = new Date(field.value);
      if (field.value && !Number.isNaN(when.getTime())) event.formData.set(field.name, when.toISOString());
    }
  });
})();
