// Platform storage: data that this LMS keeps for tools in its frames, by their origin, until the page is left
// (1EdTech LTI PostMessage Storage 0.1; Canvas forwards to a frame of its own name).
(() => {
  const { target, mode } = document.currentScript.dataset;
  if (mode === "off") return;
  const older = "org.imsglobal.lti.";
  const known = ["capabilities", "put_data", "get_data"];
  const kept = new Map();
  const LIMIT = 4096;
  const LATE = 1500;

  const answers = {
    capabilities: () => ({
      supported_messages: known.flatMap((name) => [...(mode === "older_names" ? [] : ["lti."]), older].map((prefix) => ({
        subject: prefix + name,
        ...(target !== "_parent" && name !== "capabilities" ? { frame: target } : {}),
      }))),
    }),
    put_data: (origin, { key, value }) => {
      if (target !== "_parent") return { error: { code: "wrong_origin", message: `ask the frame ${target}` } };
      if (typeof key !== "string" || key === "") return { error: { code: "bad_request", message: "there is no key" } };
      const name = JSON.stringify([origin, key]);
      if (value === null || value === undefined) kept.delete(name);
      else if (String(value).length > LIMIT) return { error: { code: "storage_exhaustion", message: `at most ${LIMIT} characters` } };
      else kept.set(name, value);
      return { key, value };
    },
    get_data: (origin, { key }) => {
      if (target !== "_parent") return { error: { code: "wrong_origin", message: `ask the frame ${target}` } };
      return { key, value: kept.get(JSON.stringify([origin, key])) ?? null };
    },
  };

  const listen = () => window.addEventListener("message", (event) => {
    const message = event.data;
    if (!message || typeof message !== "object" || typeof message.subject !== "string" || !event.source) return;
    const prefix = message.subject.startsWith(older) ? older : "lti.";
    if (prefix === "lti." && mode === "older_names") return;
    const name = message.subject.slice(prefix.length);
    if (!message.subject.startsWith(prefix) || !known.includes(name)) return;
    event.source.postMessage(
      { subject: `${message.subject}.response`, message_id: message.message_id, ...answers[name](event.origin, message) },
      event.origin,
    );
  });
  if (mode === "late" && window.parent !== window) window.setTimeout(listen, LATE);
  else listen();
})();
