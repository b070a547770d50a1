// Tells the LMS that its registration page is done with (IMS Dynamic Registration 1.0 §3.7), by itself or by a button.
(() => {
  const close = () => {
    const lms = window.opener || window.parent;
    // Which LMS frames the page is not known for certain, and the message says nothing that is anybody's secret.
    if (lms !== window) lms.postMessage({ subject: "org.imsglobal.lti.close" }, "*");
    else window.close();
    const closed = document.querySelector("[data-closed]");
    if (closed) closed.hidden = false;
  };
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", close);
  const page = document.querySelector("[data-close-after]");
  if (page && (window.opener || window.parent) !== window) {
    window.setTimeout(close, Number(page.dataset.closeAfter) * 1000);
  }
  for (const form of document.querySelectorAll("form[data-once]")) {
    form.addEventListener("submit", () => {
      const button = form.querySelector("[type=submit]");
      window.setTimeout(() => { button.disabled = true; button.textContent = "Registering…"; }, 0);
    });
  }
})();
