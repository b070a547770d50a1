// LTI platform storage by postMessage (LTI Client Side postMessages and Postmessage Storage 1.0): the LMS keeps the
// browser's name where cookies are blocked. Only the LMS's own origin is spoken to and listened to.
(() => {
  const parameters = document.getElementById("storage");
  if (!parameters) return;
  const storage = JSON.parse(parameters.textContent);
  const PATIENCE = 3000;
  const AGAIN_AFTER = 200;

  const host = () => window.parent !== window ? window.parent : window.opener;

  // Finds the frame of that name at each call: the LMS may be loading it still.
  const finderOf = (name) => {
    const began = performance.now();
    return () => {
      const parent = host();
      if (!parent || !name || name === "_parent") return parent;
      try {
        if (parent.frames[name]) return parent.frames[name];
      } catch {
        // Of another site's page, a name that no frame has is refused instead of undefined.
      }
      return performance.now() - began < PATIENCE / 2 ? null : parent;
    };
  };

  // Sends messages until one of them is answered; resolves to null when that takes too long. What is sent before the
  // other side listens is lost, so everything is sent again and again: keeping and reading may happen twice.
  const ask = (find, messages, origin, accepts = () => true) =>
    new Promise((resolve) => {
      const id = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2);
      const listen = (event) => {
        const answer = event.data;
        if (!answer || typeof answer !== "object" || answer.message_id !== id) return;
        if (origin !== "*" && event.origin !== origin) return;
        if (accepts(answer)) finish(answer);
      };
      const send = () => {
        const frame = find();
        if (frame) for (const message of messages) frame.postMessage({ ...message, message_id: id }, origin);
      };
      const finish = (answer) => {
        window.clearInterval(sending);
        window.clearTimeout(ending);
        window.removeEventListener("message", listen);
        resolve(answer);
      };
      window.addEventListener("message", listen);
      const sending = window.setInterval(send, AGAIN_AFTER);
      const ending = window.setTimeout(() => finish(null), PATIENCE);
      send();
    });

  // Canvas answers from a frame of its own, which its capabilities name; older platforms use the longer subjects. Both
  // are asked at once: who knows one only says nothing to the other.
  const supportedBy = (answer) => {
    const supported = Array.isArray(answer.supported_messages) ? answer.supported_messages : [];
    const put = supported.find((one) => /(^|\.)lti\.put_data$/.test(one.subject));
    const get = supported.find((one) => /(^|\.)lti\.get_data$/.test(one.subject));
    return put && get ? { put: put.subject, get: get.subject, frame: put.frame } : null;
  };

  const subjectsOf = async () => {
    const messages = ["", "org.imsglobal."].map((prefix) => ({ subject: `${prefix}lti.capabilities` }));
    const answer = await ask(finderOf("_parent"), messages, "*", supportedBy);
    return (answer && supportedBy(answer)) || { put: "lti.put_data", get: "lti.get_data", frame: undefined };
  };

  const put = async (panel) => {
    if (host()) {
      const subjects = await subjectsOf();
      const message = { subject: subjects.put, key: storage.key, value: storage.value };
      await ask(finderOf(subjects.frame || storage.target), [message], storage.origin);
    }
    window.location.replace(panel.dataset.location);
  };

  const get = async (form) => {
    if (!storage.target || !host()) return;
    const subjects = await subjectsOf();
    const message = { subject: subjects.get, key: storage.key };
    const answer = await ask(finderOf(subjects.frame || storage.target), [message], storage.origin);
    if (!answer || answer.error || typeof answer.value !== "string" || !answer.value) return;
    form.elements.browser.value = answer.value;
    form.submit();
  };

  const panel = document.getElementById("storage-put");
  const form = document.getElementById("storage-get");
  if (panel) put(panel);
  if (form) get(form);
})();
