// LTI platform storage by postMessage (LTI Client Side postMessages and Postmessage Storage 1.0): the LMS keeps the
// browser's name where cookies are blocked. Only the LMS's own origin is spoken to and listened to.
(() => {
  const parameters = document.getElementById("storage");
  if (!parameters) return;
  const storage = JSON.parse(parameters.textContent);
  const PATIENCE = 2000;

  const host = () => window.parent !== window ? window.parent : window.opener;

  const frameNamed = (name) => {
    const parent = host();
    if (!parent) return null;
    if (!name || name === "_parent") return parent;
    try {
      return parent.frames[name] || parent;
    } catch {
      return parent;
    }
  };

  // Sends one message and waits for its answer; resolves to null when none comes in time.
  const ask = (frame, message, origin) =>
    new Promise((resolve) => {
      const id = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2);
      const listen = (event) => {
        const answer = event.data;
        if (!answer || typeof answer !== "object" || answer.message_id !== id) return;
        if (origin !== "*" && event.origin !== origin) return;
        window.removeEventListener("message", listen);
        resolve(answer);
      };
      window.addEventListener("message", listen);
      window.setTimeout(() => {
        window.removeEventListener("message", listen);
        resolve(null);
      }, PATIENCE);
      frame.postMessage({ ...message, message_id: id }, origin);
    });

  // Canvas answers from a frame of its own, which its capabilities name; older platforms use the longer subjects.
  const subjectsOf = async () => {
    const parent = host();
    for (const prefix of ["", "org.imsglobal."]) {
      const answer = parent && await ask(parent, { subject: `${prefix}lti.capabilities` }, "*");
      const supported = answer && Array.isArray(answer.supported_messages) ? answer.supported_messages : [];
      const put = supported.find((one) => /(^|\.)lti\.put_data$/.test(one.subject));
      const get = supported.find((one) => /(^|\.)lti\.get_data$/.test(one.subject));
      if (put && get) return { put: put.subject, get: get.subject, frame: put.frame };
    }
    return { put: "lti.put_data", get: "lti.get_data", frame: undefined };
  };

  const put = async (panel) => {
    if (host()) {
      const subjects = await subjectsOf();
      const frame = frameNamed(subjects.frame || storage.target);
      if (frame) await ask(frame, { subject: subjects.put, key: storage.key, value: storage.value }, storage.origin);
    }
    window.location.replace(panel.dataset.location);
  };

  const get = async (form) => {
    if (!storage.target || !host()) return;
    const subjects = await subjectsOf();
    const frame = frameNamed(subjects.frame || storage.target);
    const answer = frame && await ask(frame, { subject: subjects.get, key: storage.key }, storage.origin);
    if (!answer || answer.error || typeof answer.value !== "string" || !answer.value) return;
    form.elements.browser.value = answer.value;
    form.submit();
  };

  const panel = document.getElementById("storage-put");
  const form = document.getElementById("storage-get");
  if (panel) put(panel);
  if (form) get(form);
})();
