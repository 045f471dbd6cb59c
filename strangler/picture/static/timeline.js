// Requests per second over the last minutes, with every stage, switch, rollout and trouble marked.
import { Drawing, milliseconds } from "./draw.js";

const LEFT = 46, RIGHT = 12, LABELS = 54, BAND = 24, LEAST = 120;

export class Timeline {
  constructor(svg) {
    this.svg = svg;
    this.drawing = new Drawing(svg);
  }

  draw(state) {
    const larger = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    const width = (this.svg.clientWidth || 900) / larger, height = (this.svg.clientHeight || 200) / larger;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const { history } = state, now = state.t, put = (...words) => this.drawing.put(...words);
    const began = Math.min(history.length ? history[0][0] : now, now - LEAST);
    const x = (t) => LEFT + ((t - began) / (now - began)) * (width - LEFT - RIGHT);
    const floor = height - BAND - 4, most = Math.max(10, ...history.map((each) => each[1] ?? 0)) * 1.1;
    const y = (value) => floor - (value / most) * (floor - LABELS);
    this.drawing.begin();
    this.stages(state, put, x, began, now, height);
    put("floor", "path", { d: `M${LEFT} ${floor}H${width - RIGHT}`, class: "axis" });
    put("most", "text", { x: LEFT - 6, y: LABELS + 12, class: "tick" }, `${Math.round(most)}/s`);
    put("none", "text", { x: LEFT - 6, y: floor, class: "tick" }, "0");
    put("area", "path", { d: area(history, x, y, floor), class: "area" });
    put("errors", "path", { d: bars(history, x, y, floor), class: "errors" });
    this.marks(state, put, x, began, floor, width);
    this.drawing.end();
  }

  stages(state, put, x, began, now, height) {
    const stages = state.marks.filter((mark) => mark.kind === "stage");
    stages.forEach((mark, index) => {
      const from = Math.max(began, mark.t), to = index + 1 < stages.length ? stages[index + 1].t : now;
      if (to <= began) return;
      const left = x(from), wide = Math.max(0, x(to) - left - 2);
      put(`stage ${mark.t}`, "rect", { x: left, y: height - BAND, width: wide, height: BAND, rx: 5, class: `band ${index === stages.length - 1 ? "now" : ""}` });
      const text = wide > mark.text.length * 9 ? mark.text : wide > 16 ? mark.text.split("-")[0] : "";
      put(`stage text ${mark.t}`, "text", { x: left + wide / 2, y: height - 7, class: `band-text ${index === stages.length - 1 ? "now" : ""}` }, text);
    });
  }

  marks(state, put, x, began, floor, width) {
    const colour = Object.fromEntries(state.modules.map((module, index) => [module.name, index % 6]));
    const ends = [-1e9, -1e9, -1e9];
    for (const mark of state.marks.filter((each) => each.t >= began && each.kind !== "stage")) {
      const key = `${mark.kind} ${mark.t} ${mark.text}`, at = x(mark.t);
      if (mark.kind === "note" || mark.kind === "over") {
        const dot = put(key, "circle", { cx: at, cy: floor, r: 4, class: `note m${colour[mark.module] ?? ""}` });
        put(`${key} title`, "title", {}, mark.text, dot);
        continue;
      }
      const look = mark.kind === "bad" ? "bad" : mark.module ? `m${colour[mark.module]}` : "rollout";
      const text = mark.pause_ms ? `${mark.text}  ${milliseconds(mark.pause_ms)}` : mark.text;
      const wide = text.length * 8.2, before = at + wide + 8 > width, left = before ? at - wide - 6 : at;
      const lane = ends.findIndex((end) => end < left);
      put(key, "path", { d: `M${at} ${floor}V${lane < 0 ? LABELS : 4 + lane * 18}`, class: `mark ${look}` });
      if (lane < 0) continue;
      ends[lane] = left + wide + 8;
      put(`${key} text`, "text", { x: before ? at - 5 : at + 5, y: 15 + lane * 18, class: `mark-text ${look} ${before ? "before" : ""}` }, text);
    }
  }
}

// A gap where nothing is known: no line is drawn across it.
function area(history, x, y, floor) {
  let path = "", open = null;
  for (const [t, value] of history) {
    if (value === null) {
      if (open !== null) path += `L${open} ${floor}Z`;
      open = null;
      continue;
    }
    path += open === null ? `M${x(t).toFixed(1)} ${floor}` : "";
    open = x(t).toFixed(1);
    path += `L${open} ${y(value).toFixed(1)}`;
  }
  return open === null ? path : `${path}L${open} ${floor}Z`;
}

function bars(history, x, y, floor) {
  return history.filter((each) => each[2] > 0)
    .map(([t, , errors]) => `M${x(t).toFixed(1)} ${floor}V${Math.min(floor - 8, y(errors)).toFixed(1)}`).join("");
}
