// Into a live session. It opens in a window of its own, except in a frame that may use camera, microphone and screen:
// there it stands in the page. The way in works once, so it is asked for at the click and kept nowhere.
(() => {
  "use strict";

  const NEEDED = ["camera", "microphone", "display-capture"];

  const WORDS = { camera: "use your camera", microphone: "use your microphone", "display-capture": "share your screen" };

  // What the LMS's frame forbids of that (its allow attribute). Browsers that do not say are taken to forbid all.
  const forbidden = () => {
    const policy = document.permissionsPolicy || document.featurePolicy;
    if (!policy || typeof policy.allowsFeature !== "function") return NEEDED;
    return NEEDED.filter((feature) => !policy.allowsFeature(feature));
  };
  const isFramed = () => window.self !== window.top;
  const mayStayInFrame = () => isFramed() && forbidden().length === 0;

  const words = () => {
    if (!isFramed()) return "The session opens in a new window.";
    if (mayStayInFrame()) return "The session opens in this page.";
    const missing = forbidden().map((feature) => WORDS[feature]);
    const last = missing.pop();
    const all = missing.length ? `${missing.join(", ")} or ${last}` : last;
    return `The session opens in a new window: in here your course does not let it ${all}.`;
  };

  const explain = () => {
    for (const place of document.querySelectorAll("[data-meeting-words]")) {
      const form = document.querySelector("[data-meeting]");
      place.hidden = !form;
      if (form) place.textContent = words();
    }
  };

  const say = (text, link) => {
    const place = document.querySelector("[data-meeting-problem]");
    if (!place) return;
    const paragraph = place.querySelector("[data-meeting-problem-text]");
    paragraph.textContent = text;
    if (link) {
      const anchor = document.createElement("a");
      anchor.href = link;
      anchor.target = "_blank";
      anchor.rel = "noopener noreferrer";
      anchor.textContent = "Open the session";
      paragraph.append(" ", anchor);
    }
    place.hidden = !text;
  };

  const show = (address) => {
    const stage = document.getElementById("stage");
    const frame = document.createElement("iframe");
    frame.name = "session";
    frame.title = "The session";
    frame.allow = [...NEEDED, "fullscreen", "autoplay", "clipboard-write"].join("; ");
    frame.referrerPolicy = "no-referrer";
    frame.src = address;
    stage.querySelector("[data-stage]").replaceChildren(frame);
    stage.hidden = false;
    stage.scrollIntoView({ block: "start" });
  };

  const wayIn = async (form) => {
    const response = await fetch(form.action, {
      method: "POST",
      body: new FormData(form),
      headers: { Accept: "application/json" },
    });
    const isJson = (response.headers.get("Content-Type") || "").startsWith("application/json");
    if (!isJson) throw new Error("This visit has ended. Open the session again from your course.");
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.problem);
    return answer.address;
  };

  const enter = async (form) => {
    const inPage = mayStayInFrame();
    // At once, while the browser still takes it for the click's; it is sent on when the way in is known.
    const opened = inPage ? null : window.open("about:blank", "_blank");
    if (opened) {
      opened.opener = null;
      opened.document.title = "Opening the session…";
      opened.document.body.textContent = "Opening the session…";
    }
    const button = form.querySelector("button");
    button.disabled = true;
    say("");
    try {
      const address = await wayIn(form);
      if (inPage) show(address);
      else if (opened) opened.location.replace(address);
      else say("Your browser did not open a new window.", address);
    } catch (error) {
      if (opened) opened.close();
      say(error instanceof TypeError ? "No connection. Try again once you are online." : error.message);
    } finally {
      button.disabled = false;
      if (window.htmx) window.htmx.trigger("#live", "look");
    }
  };

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-meeting]");
    if (!form) return;
    event.preventDefault();
    enter(form);
  });

  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-stage-closes]")) return;
    const stage = document.getElementById("stage");
    stage.querySelector("[data-stage]").replaceChildren();
    stage.hidden = true;
    document.getElementById("enter")?.focus();
  });

  // A recording that cannot be played says so, with the way to the reason.
  document.addEventListener(
    "error",
    (event) => {
      const player = event.target.closest?.(".player");
      if (player) player.querySelector("[data-player-problem]").hidden = false;
    },
    true,
  );
  document.addEventListener(
    "toggle",
    (event) => {
      const player = event.target.closest?.(".player");
      if (!player) return;
      const video = player.querySelector("video");
      if (player.open) video.play().catch(() => undefined);
      else video.pause();
    },
    true,
  );

  const ready = () => {
    explain();
    document.body.addEventListener("htmx:afterSettle", explain);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ready);
  else ready();
})();
