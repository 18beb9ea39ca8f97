// The live figures, each with a line of its last half minute.

const KEPT = 60;
const SVG = "http://www.w3.org/2000/svg";

const FIGURES = [
  ["latency", "Latency, capture to shown", "ms", 0],
  ["fps_in", "Frames in", "fps", 1],
  ["fps_out", "Poses out", "fps", 1],
  ["inference", "Inference", "ms", 1],
  ["batch", "Batch", "frames", 0],
  ["drops", "Drops", "", 0],
  ["people", "People", "", 0],
];

export class Panel {
  constructor(list) {
    this.rows = new Map();
    for (const [key, name, unit, digits] of FIGURES) {
      const row = document.createElement("div");
      const term = document.createElement("dt");
      const value = document.createElement("dd");
      const text = document.createElement("span");
      const small = document.createElement("small");
      const svg = document.createElementNS(SVG, "svg");
      const line = document.createElementNS(SVG, "polyline");
      term.textContent = name;
      text.id = `figure-${key}`;
      text.textContent = "–";
      small.textContent = ` ${unit}`;
      svg.setAttribute("viewBox", `0 0 ${KEPT - 1} 26`);
      svg.setAttribute("preserveAspectRatio", "none");
      svg.setAttribute("aria-hidden", "true");
      svg.append(line);
      value.append(text, small, svg);
      row.append(term, value);
      list.append(row);
      this.rows.set(key, { text, line, digits, history: [] });
    }
  }

  /** Values by key; what is null is not known now. */
  show(values) {
    for (const [key, row] of this.rows) {
      const value = values[key] ?? null;
      row.text.textContent = value === null ? "–" : value.toFixed(row.digits);
      row.history.push(value);
      if (row.history.length > KEPT) row.history.shift();
      const top = Math.max(...row.history.map((v) => v ?? 0), 1e-9);
      row.line.setAttribute(
        "points",
        row.history.flatMap((v, i) => (v === null ? [] : [`${i},${(25 - (24 * v) / top).toFixed(1)}`])).join(" ")
      );
    }
  }

  clear() {
    for (const row of this.rows.values()) row.history = [];
    this.show({});
  }
}
