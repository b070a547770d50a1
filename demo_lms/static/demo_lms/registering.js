// The tool says that it is done; Moodle closes its frame then.
const frame = document.querySelector("iframe.tool");
window.addEventListener("message", (event) => {
  if (event.source !== frame.contentWindow) return;
  let data = event.data;
  if (typeof data === "string") {
    try { data = JSON.parse(data); } catch { return; }
  }
  if (data && data.subject === "org.imsglobal.lti.close") window.location.href = frame.dataset.back;
});
