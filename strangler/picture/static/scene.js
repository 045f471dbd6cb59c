// Boxes and arrows. Everything is worked out from the sites and modules that the state names.
import { Drawing, UNKNOWN, bytes, count, milliseconds, rate, short } from "./draw.js";

const TOP = 46, FOOT = 34, WIDTH = 1600, LOW = 92, HIGH = 150;
const PEOPLE = { x: 14, w: 118 }, GATEWAY = { x: 290, w: 112 }, APP = { x: 584, w: 236 };
const TARGET = { x: 1064, w: 184 }, SOURCE = { x: 1420, w: 170 };
const CHIP = { w: 150, h: 50 };
const ARC = 58;

export class Scene {
  constructor(svg) {
    this.svg = svg;
    svg.innerHTML = `<defs>${["plain", "bad", "call", ...Array(6).keys()].map((name) =>
      `<marker id="head-${name}" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="4.2" markerHeight="4.2" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" class="head ${typeof name === "number" ? `m${name}` : name}"/></marker>`).join("")}</defs>`;
    this.drawing = new Drawing(svg);
  }

  draw(state) {
    this.state = state;
    this.row = Object.fromEntries(state.sites.map((site, index) => [site.name, index]));
    this.colour = Object.fromEntries(state.modules.map((module, index) => [module.name, index % 6]));
    this.sources = [...new Set(state.modules.map((module) => module.source))];
    // As high as there is room for.
    const room = (WIDTH * this.svg.clientHeight) / (this.svg.clientWidth || 1) - TOP - FOOT;
    this.tall = Math.max(LOW, Math.min(HIGH, room / state.sites.length));
    this.h = Math.min(96, this.tall - 12);
    this.height = TOP + state.sites.length * this.tall + FOOT;
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${this.height}`);
    this.drawing.begin();
    this.headings();
    this.databases();
    this.door();
    for (const site of state.sites) this.site(site);
    for (const call of state.calls) this.call(call);
    for (const module of state.modules) this.module(module);
    this.legend();
    this.drawing.end();
  }

  put(...words) {
    return this.drawing.put(...words);
  }

  y(site) {
    return TOP + (this.row[site] + 0.5) * this.tall;
  }

  headings() {
    const heads = { people: PEOPLE, gateway: GATEWAY, applications: APP, "their databases": TARGET };
    for (const [text, box] of Object.entries(heads)) {
      this.put(`head ${text}`, "text", { x: box.x + box.w / 2, y: 26, class: "heading" }, text);
    }
    const whose = this.sources.length === 1 ? `${this.sources[0]}'s database` : "where it came from";
    this.put("head source", "text", { x: SOURCE.x + SOURCE.w / 2, y: 26, class: "heading" }, whose);
  }

  box(key, x, y, w, h, look) {
    return this.put(key, "rect", { x, y, width: w, height: h, rx: 12, class: `box ${look}` });
  }

  // --- the way in ------------------------------------------------------------------------------------------------

  door() {
    const { gateway, redis, promises } = this.state;
    const middle = TOP + (this.state.sites.length * this.tall) / 2;
    const crowd = this.put("people", "g", { class: "people" });
    for (const [index, [dx, dy]] of [[-30, 6], [30, 6], [0, -8]].entries()) {
      const x = PEOPLE.x + PEOPLE.w / 2 + dx, y = middle + dy;
      this.put(`body ${index}`, "path", { d: `M${x - 22} ${y + 36}a22 24 0 0 1 44 0z` }, undefined, crowd);
      this.put(`face ${index}`, "circle", { cx: x, cy: y - 6, r: 13 }, undefined, crowd);
    }
    const users = promises && promises.users !== null ? `${count(promises.users)} users` : "users";
    this.put("crowd", "text", { x: PEOPLE.x + PEOPLE.w / 2, y: middle + 76, class: "label" }, users);

    const absent = gateway.state === "absent" || gateway.state === "unknown";
    const look = gateway.state === "away" ? "bad" : absent ? "absent" : "";
    const height = this.state.sites.length * this.tall - 20;
    this.box("gateway", GATEWAY.x, TOP + 10, GATEWAY.w, height, look);
    const x = GATEWAY.x + GATEWAY.w / 2, y = TOP + 10 + height / 2;
    this.put("gateway name", "text", { x, y, class: `name ${look}`, transform: `rotate(-90 ${x} ${y})` }, "gateway");
    const words = { away: "DOES NOT ANSWER", absent: "not in use", unknown: UNKNOWN, up: "" }[gateway.state];
    this.put("gateway state", "text", { x: x + 28, y, class: `small ${look}`, transform: `rotate(-90 ${x + 28} ${y})` }, words);
    if (redis) {
      const away = redis.state === "away" ? "bad" : "", last = this.y(this.state.sites.at(-1).name);
      const centre = PEOPLE.x + PEOPLE.w / 2;
      this.put("redis wire", "path", { d: `M${PEOPLE.x + PEOPLE.w} ${last}H${GATEWAY.x}`, class: "wire" });
      this.box("redis", PEOPLE.x, last - 36, PEOPLE.w, 72, away);
      this.put("redis name", "text", { x: centre, y: last - 2, class: `name ${away}` }, "Redis");
      this.put("redis state", "text", { x: centre, y: last + 23, class: `small ${away}` }, away ? "AWAY" : "routes");
    }
    const from = PEOPLE.x + PEOPLE.w + 8;
    if (gateway.door || gateway.state === "away") this.arrow("in", from, middle, GATEWAY.x - 6, middle, gateway.door);
    for (const [name, flow] of Object.entries(this.state.direct)) {
      const end = APP.x - 6, to = this.y(name);
      this.path(`direct ${name}`, `M${from} ${middle}C${from + 190} ${middle} ${end - 260} ${to} ${end} ${to}`, flow);
      this.measures(`direct ${name}`, (from + GATEWAY.x) / 2 - 30, (middle * 2 + to) / 3 - 26, flow);
    }
  }

  // --- applications ----------------------------------------------------------------------------------------------

  site(site) {
    const y = this.y(site.name), top = y - this.h / 2;
    const look = { away: "bad", absent: "absent", unknown: "absent", partly: site.needed ? "warn" : "", up: "" }[site.state];
    if (site.flow && (site.flow.rps || site.state !== "absent") && this.state.gateway.state === "up") {
      this.arrow(`to ${site.name}`, GATEWAY.x + GATEWAY.w + 6, y, APP.x - 6, y, site.flow);
    }
    if (site.database && !["absent", "unknown"].includes(site.database.state) && site.state !== "absent") {
      const x = this.sources.includes(site.name) ? SOURCE.x : TARGET.x;
      this.put(`db line ${site.name}`, "path", { d: `M${APP.x + APP.w} ${y}H${x}`, class: "wire" });
    }
    this.box(`app ${site.name}`, APP.x, top, APP.w, this.h, look);
    this.put(`app name ${site.name}`, "text", { x: APP.x + 18, y: top + this.h / 2 - 8, class: `name left ${look}` }, site.name);
    this.state.modules.filter((module) => module.owner === site.name).forEach((module, index) => {
      const x = APP.x + APP.w - 26 - index * 20;
      this.put(`owns ${module.name}`, "rect", { x, y: top + 16, width: 14, height: 14, rx: 3, class: `fill m${this.colour[module.name]}` });
    });
    const words = { away: "DOES NOT ANSWER", absent: "not running", unknown: UNKNOWN }[site.state];
    if (words) {
      this.put(`app state ${site.name}`, "text", { x: APP.x + 18, y: y + 26, class: `small left ${look}` }, words);
      return;
    }
    site.instances.forEach((one, index) => {
      const dot = one.up ? (one.ready ? "up" : "warn") : site.needed ? "down" : "later";
      this.put(`dot ${site.name} ${index}`, "circle", { cx: APP.x + 26 + index * 22, cy: y + 21, r: 8, class: `dot ${dot}` });
    });
    const versions = Object.entries(site.versions).map(([name, number]) =>
      Object.keys(site.versions).length > 1 ? `${number}×${name}` : name);
    const text = versions.join(", ") || UNKNOWN;
    const mixed = versions.length > 1 ? "mixed" : "";
    this.put(`versions ${site.name}`, "text", { x: APP.x + 22 + Math.max(1, site.instances.length) * 22, y: y + 27, class: `small left ${mixed}` }, text);
  }

  call(call) {
    const from = this.y(call.from), to = this.y(call.to), x = APP.x + APP.w;
    const rows = Math.abs(this.row[call.from] - this.row[call.to]), up = to < from ? 1 : -1;
    const depth = x + 14 + rows * ARC, start = from - 24 * up, end = to + 26 * up;
    const d = `M${x} ${start}C${depth + 8} ${start} ${depth + 8} ${end} ${x + 7} ${end}`;
    this.path(`call ${call.from} ${call.to}`, d, call, "call");
    const middle = (start + end) / 2 - 8 * up, at = x + (depth + 8 - x) * 0.75;
    this.put(`call text ${call.from} ${call.to}`, "text", { x: at, y: middle + 5, class: `calls ${call.errors ? "bad" : ""}` },
      call.errors ? `${rate({ rps: call.errors })} fail` : rate(call));
    this.title(`call title ${call.from} ${call.to}`, `call ${call.from} ${call.to}`,
      `${call.from} asks ${call.to}: ${rate(call)}, p95 ${milliseconds(call.p95_ms)}`);
  }

  // --- data ------------------------------------------------------------------------------------------------------

  databases() {
    for (const site of this.state.sites) {
      if (!site.database) continue;
      const look = { away: "bad", absent: "absent", unknown: "absent", up: "" }[site.database.state];
      const place = this.sources.includes(site.name) ? this.reach(site.name)
        : { x: TARGET.x, y: this.y(site.name) - this.h / 2, w: TARGET.w, h: this.h };
      this.cylinder(site.name, place, look);
      const words = { away: "DOES NOT ANSWER", absent: "", unknown: UNKNOWN, up: "" }[site.database.state];
      this.put(`db state ${site.name}`, "text", { x: place.x + place.w / 2, y: place.y + 34, class: `small ${look}` }, words);
    }
  }

  // A source's database stands beside all that its modules move to.
  reach(name) {
    const rows = [name, ...this.state.modules.filter((module) => module.source === name).map((module) => module.target)];
    const ys = rows.map((row) => this.y(row)), first = Math.min(...ys), last = Math.max(...ys);
    return { x: SOURCE.x, y: first - this.h / 2, w: SOURCE.w, h: last - first + this.h };
  }

  cylinder(name, { x, y, w, h }, look) {
    const lid = 11;
    this.put(`db ${name}`, "path", { class: `box ${look}`,
      d: `M${x} ${y + lid}A${w / 2} ${lid} 0 0 1 ${x + w} ${y + lid}V${y + h - lid}A${w / 2} ${lid} 0 0 1 ${x} ${y + h - lid}Z` });
    this.put(`lid ${name}`, "path", { class: `lid ${look}`, d: `M${x} ${y + lid}A${w / 2} ${lid} 0 0 0 ${x + w} ${y + lid}` });
  }

  module(module) {
    const shared = this.state.modules.filter((each) => each.target === module.target && each.source === module.source);
    const y = this.y(module.target) + (shared.indexOf(module) - (shared.length - 1) / 2) * (CHIP.h + 4) + 4;
    const places = { [module.target]: TARGET.x + TARGET.w / 2, [module.source]: SOURCE.x + SOURCE.w / 2 };
    const other = module.owner === module.source ? module.target : module.source;
    const follows = Object.values(module.streams).some((stream) => stream.to === other);
    if (follows) this.chip(module, "copy", places[other], y, this.progress(module));
    for (const stream of Object.values(module.streams)) this.stream(module, stream, y, stream.to === other);
    if (module.owner === null) return;
    const words = module.travelling ? "changes hands" : module.epoch === null ? "owner" : `owner, epoch ${module.epoch}`;
    this.chip(module, module.travelling ? "owner travelling" : "owner", places[module.owner], y, words);
  }

  progress(module) {
    if (module.state !== "copying" || module.rows === null) return "copy, follows";
    return `${short(module.copied)} of ${short(module.rows)} rows`;
  }

  chip(module, look, x, y, words) {
    const kind = look.startsWith("owner") ? "owner" : "copy", key = `${kind} ${module.name}`;
    const group = this.put(key, "g", { class: `chip ${look} m${this.colour[module.name]}`, move: [x, y] });
    this.put(`${key} box`, "rect", { x: -CHIP.w / 2, y: -CHIP.h / 2, width: CHIP.w, height: CHIP.h, rx: 10 }, undefined, group);
    if (kind === "copy" && module.state === "copying" && module.rows) {
      const part = Math.min(1, module.copied / module.rows);
      this.put(`${key} bar`, "rect", { class: "bar", x: -CHIP.w / 2, y: -CHIP.h / 2, width: CHIP.w * part, height: CHIP.h, rx: 10 }, undefined, group);
    }
    this.put(`${key} name`, "text", { y: -3, class: "chip-name" }, module.name, group);
    this.put(`${key} words`, "text", { y: 17, class: "chip-words" }, words, group);
  }

  stream(module, stream, y, strong) {
    const left = TARGET.x + TARGET.w + 6, right = SOURCE.x - 6, at = y + (strong ? -10 : 12);
    const towardsSource = stream.to === module.source;
    const broken = !stream.working || stream.errors > 0 || stream.conflicts > 0;
    const look = broken ? "bad" : `m${this.colour[module.name]}`;
    const d = towardsSource ? `M${left} ${at}H${right}` : `M${right} ${at}H${left}`;
    const key = `stream ${module.name} ${stream.from} ${stream.to}`;
    const head = broken ? "bad" : this.colour[module.name];
    this.put(key, "path", { d, class: `stream ${look} ${strong ? "strong" : ""}`, "marker-end": `url(#head-${head})` });
    const middle = (left + right) / 2;
    let words = strong ? `lag ${stream.lag_seconds === null ? UNKNOWN : milliseconds(stream.lag_seconds * 1000)}` : "";
    if (!stream.ready && module.rows) words = `${Math.floor((100 * module.copied) / module.rows)} % copied`;
    else if (strong && stream.behind_bytes > 100000) words = `${bytes(stream.behind_bytes)} behind`;
    if (broken) words = stream.working ? "CONFLICT" : "STOPPED";
    if (words) this.put(`${key} text`, "text", { x: middle, y: at - 9, class: `lag ${broken ? "bad" : ""}` }, words);
    this.title(`${key} title`, key, `${stream.from} → ${stream.to}: ${bytes(stream.behind_bytes)} behind`);
  }

  // --- arrows ----------------------------------------------------------------------------------------------------

  arrow(key, x1, y1, x2, y2, flow) {
    this.path(key, `M${x1} ${y1}L${x2} ${y2}`, flow);
    this.measures(key, (x1 + x2) / 2 - 4, y1, flow);
  }

  path(key, d, flow, kind = "plain") {
    const bad = flow && flow.errors > 0, moving = flow && flow.rps > 0;
    const width = moving ? (kind === "call" ? 2 : 3) + Math.min(5, Math.log10(1 + flow.rps) * 2) : 2;
    const head = bad ? "bad" : kind;
    this.put(key, "path", { d, class: `arrow ${head} ${moving ? "" : "still"}`, "stroke-width": kind === "call" ? Math.min(width, 3.5) : width, "marker-end": `url(#head-${head})` });
    if (moving) {
      const speed = flow.rps > 40 ? "fast" : flow.rps > 8 ? "brisk" : "slow";
      this.put(`${key} dots`, "path", { d, "stroke-width": kind === "call" ? 1.4 : width / 2.2, class: `dots ${bad ? "bad" : ""} ${speed}` });
    }
  }

  measures(key, x, y, flow) {
    const bad = flow && flow.errors > 0;
    this.put(`${key} rate`, "text", { x, y: y - 14, class: "rate" }, rate(flow));
    const words = bad ? `${rate({ rps: flow.errors })} errors` : `p95 ${milliseconds(flow && flow.p95_ms)}`;
    this.put(`${key} more`, "text", { x, y: y + 28, class: `latency ${bad ? "bad" : ""}` }, words);
  }

  title(key, of, text) {
    this.put(key, "title", {}, text, this.drawing.known.get(of));
  }

  legend() {
    const y = this.height - 8;
    const words = "full chip: owns the module, takes its writes  ·  outlined chip: a copy that follows  ·  squares: what an application owns  ·  dots: replicas  ·  p95: 95 of 100 requests are faster";
    this.put("legend", "text", { x: WIDTH / 2, y, class: "legend" }, words);
  }
}
