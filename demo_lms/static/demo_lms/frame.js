// The frame is as high as the tool asks for (the message that Canvas and others know), within reason.
const frame = document.querySelector("iframe.tool");
window.addEventListener("message", (event) => {
  if (event.source !== frame.contentWindow) return;
  let data = event.data;
  if (typeof data === "string") {
    try { data = JSON.parse(data); } catch { return; }
  }
  if (data && data.subject === "lti.frameResize" && Number(data.height) > 0) {
    frame.style.height = `${Math.min(Math.max(Number(data.height), 400), 4000)}px`;
  }
});
