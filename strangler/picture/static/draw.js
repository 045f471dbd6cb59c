// Drawing again and again without starting anew: what has the same key stays the same element, so that it can move and
// fade; what a drawing no longer mentions goes away.
const SVG = "http://www.w3.org/2000/svg";

export class Drawing {
  constructor(root) {
    this.root = root;
    this.known = new Map();
  }

  begin() {
    this.used = new Set();
  }

  put(key, tag, attributes = {}, text, parent = this.root) {
    let element = this.known.get(key);
    if (!element) {
      element = document.createElementNS(SVG, tag);
      parent.append(element);
      this.known.set(key, element);
    }
    this.used.add(key);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "move") element.style.transform = `translate(${value[0]}px, ${value[1]}px)`;
      else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
    }
    if (text !== undefined && element.textContent !== text) element.textContent = text;
    return element;
  }

  end() {
    for (const [key, element] of this.known) {
      if (this.used.has(key)) continue;
      element.remove();
      this.known.delete(key);
    }
  }
}

export const UNKNOWN = "—";

export function rate(flow) {
  if (!flow || flow.rps === null) return UNKNOWN;
  return `${flow.rps >= 10 || flow.rps === 0 ? Math.round(flow.rps) : flow.rps.toFixed(1)}/s`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value >= 10000) return `${Math.round(value / 1000)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value >= 10 ? Math.round(value) : value.toFixed(1)} ms`;
}

export function count(value) {
  return value === null || value === undefined ? UNKNOWN : value.toLocaleString("en");
}

const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function short(value) {
  return value === null || value === undefined ? UNKNOWN : SHORT.format(value);
}

export function bytes(value) {
  if (value === null || value === undefined) return UNKNOWN;
  for (const unit of ["B", "kB", "MB"]) {
    if (Math.abs(value) < 10000) return `${Math.round(value)} ${unit}`;
    value /= 1024;
  }
  return `${Math.round(value)} GB`;
}
