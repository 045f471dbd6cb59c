// What JavaScript adds: a preview while one writes, and the strip that follows who serves what. All else does without.
"use strict";

const PAUSE = 300, INTERVAL = 2000; // milliseconds

// --- preview ---

for (const area of document.querySelectorAll("textarea[data-preview]")) {
  const form = area.form;
  const preview = form.querySelector(".preview");
  const shown = preview.querySelector(".text");
  let timer, asked = 0;

  form.querySelector("button[name=preview]").hidden = true;
  const show = async () => {
    const mine = ++asked;
    const body = new FormData();
    body.set("body", area.value);
    body.set("csrf_token", form.elements.csrf_token.value);
    try {
      const answer = await fetch(area.dataset.preview, { method: "POST", body });
      if (!answer.ok || mine !== asked) return;
      shown.innerHTML = await answer.text(); // sanitized by the server, as the page itself will show it
      preview.hidden = !area.value.trim();
    } catch { /* away: one writes on without */ }
  };
  area.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(show, PAUSE); });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  if (area.value.trim()) show();
}

// --- the strip ---

const strip = document.querySelector(".served[data-live]");

function tell(element, name) {
  const text = element.querySelector("dd, .name");
  const now = name || "no answer";
  if (text.textContent === now) return;
  text.textContent = now;
  element.dataset.site = name.split("/")[0];
  element.classList.remove("changed");
  void element.offsetWidth; // so that the animation begins again
  element.classList.add("changed");
}

async function follow() {
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch(strip.dataset.live);
      for (const [part, name] of Object.entries(await answer.json())) {
        if (!strip.querySelector(`[data-part=${part}]`)) {
          const entry = strip.firstElementChild.cloneNode(true);
          entry.dataset.part = part;
          entry.querySelector("dt").textContent = `${part}:`;
          strip.append(entry); // a module that this page did not ask
        }
        for (const each of document.querySelectorAll(`[data-part=${part}]`)) tell(each, name);
      }
    } catch { /* the pages themselves are away: it goes on when they are back */ }
  }
  setTimeout(follow, INTERVAL);
}
if (strip) follow();
