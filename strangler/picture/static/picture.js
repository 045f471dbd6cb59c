// Asks for the state once a second and shows it. Says so when there is no news.
import { count, milliseconds } from "./draw.js";
import { Scene } from "./scene.js";
import { Timeline } from "./timeline.js";

const EVERY = 1000, SILENCE = 5000, FRESH = 8, MOST = 2;
const find = (id) => document.getElementById(id);
const scene = new Scene(find("scene")), timeline = new Timeline(find("timeline"));
let heard = performance.now();

const PROMISES = {
  requests: "requests", failed: "failed", lost: "writes lost", doubled: "writes doubled", stale: "stale reads",
};

function stages(state) {
  const wanted = state.stages.map((stage) => stage.name).join();
  const list = find("stages");
  if (list.dataset.names !== wanted) {
    list.dataset.names = wanted;
    list.replaceChildren(...state.stages.map((stage) => Object.assign(document.createElement("li"), { textContent: stage.name })));
  }
  const now = state.stages.findIndex((stage) => stage.now);
  [...list.children].forEach((item, index) => {
    item.className = index === now ? "now" : index < now ? "past" : "";
    item.toggleAttribute("aria-current", index === now);
  });
}

// Trouble, then what has just happened, then what goes on.
function verdict(state) {
  const { level, bad, warn, busy } = state.verdict;
  const just = state.marks.filter((mark) => mark.kind === "switch" && mark.t > state.t - FRESH).pop();
  const news = just && `Switched: ${just.text}, writes paused for ${milliseconds(just.pause_ms)}`;
  if (level === "bad") say("bad", bad);
  else if (level === "warn") say("warn", warn);
  else if (news) say("news", [news]);
  else if (level === "busy") say("busy", busy);
  else say("quiet", [quiet(state)]);
}

function quiet(state) {
  if (!state.flow || state.flow.rps === null) return "No requests are measured yet";
  return state.flow.rps > 0 ? "All is well: every request is answered" : "All is quiet: nobody asks for anything";
}

function say(level, lines) {
  const box = find("verdict"), shown = lines.slice(0, MOST).join("  ·  ");
  const text = lines.length > MOST ? `${shown}  ·  and ${lines.length - MOST} more` : shown;
  if (box.textContent !== text) box.textContent = text;
  box.className = document.body.dataset.level = level;
}

function promises(state) {
  const box = find("promises");
  if (!box.children.length) {
    box.append(...Object.entries(PROMISES).map(([name, words]) => {
      const one = document.createElement("div");
      one.id = `promise-${name}`;
      one.append(document.createElement("strong"), Object.assign(document.createElement("span"), { textContent: words }));
      return one;
    }));
  }
  for (const name of Object.keys(PROMISES)) {
    const value = state.promises ? state.promises[name] : null, one = find(`promise-${name}`);
    one.className = value === null || value === undefined ? "unknown" : name === "requests" ? "plain" : value > 0 ? "broken" : "kept";
    one.firstChild.textContent = count(value);
    const later = one.className === "unknown" && state.promises && ["lost", "doubled"].includes(name);
    one.lastChild.textContent = later ? `${PROMISES[name]}: counted at the end` : PROMISES[name];
  }
}

async function look() {
  try {
    const answer = await fetch("state.json", { cache: "no-store", signal: AbortSignal.timeout(SILENCE) });
    const state = await answer.json();
    if (!state.sites) return;
    heard = performance.now();
    document.body.classList.remove("silent");
    stages(state);
    verdict(state);
    scene.draw(state);
    promises(state);
    timeline.draw(state);
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof DOMException || error instanceof SyntaxError)) throw error;
    if (error instanceof TypeError) console.info(error.message);
  } finally {
    if (performance.now() - heard > SILENCE) {
      document.body.classList.add("silent");
      say("bad", ["No news: the picture's own server does not answer"]);
    }
    setTimeout(look, EVERY);
  }
}

find("theme").addEventListener("click", () => {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = (root.dataset.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
});
look();
