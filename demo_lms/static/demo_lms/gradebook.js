// Look every two seconds whether another grade has arrived, and show it.
const url = document.currentScript.dataset.url;
let known = null;
setInterval(async () => {
  try {
    const text = await (await fetch(url)).text();
    if (known !== null && text !== known) location.reload();
    known = text;
  } catch { /* the LMS is being restarted: the next look tells */ }
}, 2000);
