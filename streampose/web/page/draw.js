// Skeletons on a canvas. Orange is the person's own left, blue the right: they stay apart for colour-blind eyes.

import { SKELETONS } from "./skeletons.js";

const COLOURS = { left: "rgb(255 146 56)", right: "rgb(64 190 255)", middle: "rgb(236 240 240)" };

// Of a server that is newer than the page: points are all that is known.
const UNKNOWN = { points: [], edges: [] };

const side = (name = "") => (name.startsWith("left") ? "left" : name.startsWith("right") ? "right" : "middle");

/** Draw a frame and the people of a record (docs/formats.md) onto a canvas. */
export function drawFrame(canvas, image, record, { mirror, ids, confidence }) {
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(mirror ? -1 : 1, 0, 0, 1, mirror ? canvas.width : 0, 0);
  pen.drawImage(image, 0, 0);
  if (record === null) return;
  const [width, height] = record.size_px;
  const scale = [canvas.width / width, canvas.height / height];
  // One that is none of the server's comes with each record.
  const own = record.names && { points: record.names, edges: record.edges };
  const skeleton = own ?? SKELETONS.get(record.skeleton) ?? UNKNOWN;
  for (const person of record.people) drawPerson(pen, person, skeleton, scale, confidence);
  if (ids) for (const person of record.people) drawNumber(pen, canvas, person, scale, mirror);
}

function drawPerson(pen, person, skeleton, [sx, sy], confidence) {
  const points = person.points.map(([x, y, score]) => [(x + 0.5) * sx, (y + 0.5) * sy, score]);
  const size = Math.max((person.box[2] - person.box[0]) * sx, (person.box[3] - person.box[1]) * sy);
  const thick = Math.min(Math.max(size / 90, 1.5), 8);
  pen.lineCap = "round";
  const strokes = [];
  for (const [a, b] of skeleton.edges) {
    if (points[a][2] < confidence || points[b][2] < confidence) continue;
    const sides = [side(skeleton.points[a]), side(skeleton.points[b])];
    strokes.push([points[a], points[b], sides[0] === sides[1] ? sides[0] : "middle", thick]);
  }
  points.forEach((point, i) => {
    if (point[2] >= confidence) strokes.push([point, point, side(skeleton.points[i]), thick * 1.7]);
  });
  for (const rim of [true, false]) {
    for (const [from, to, colour, width] of strokes) {
      pen.strokeStyle = rim ? "rgb(20 22 28)" : COLOURS[colour];
      pen.lineWidth = width + (rim ? Math.max(1.5, thick / 2) : 0);
      pen.beginPath();
      pen.moveTo(from[0], from[1]);
      pen.lineTo(to[0], to[1] + 0.01); // a line without length is not drawn everywhere
      pen.stroke();
    }
  }
}

function drawNumber(pen, canvas, person, [sx, sy], mirror) {
  if (person.id === null) return;
  const text = String(person.id);
  const height = Math.max(14, Math.round(canvas.height / 28));
  pen.save();
  pen.setTransform(1, 0, 0, 1, 0, 0); // writing is never mirrored
  pen.font = `600 ${height}px system-ui, sans-serif`;
  const wide = pen.measureText(text).width + height * 0.8;
  const left = mirror ? canvas.width - person.box[2] * sx : person.box[0] * sx;
  const x = Math.min(Math.max(0, left), canvas.width - wide);
  const y = Math.max(0, person.box[1] * sy - height * 1.6);
  pen.fillStyle = `hsl(${(person.id * 222.5) % 360} 75% 75%)`;
  pen.beginPath();
  pen.roundRect(x, y, wide, height * 1.4, height * 0.4);
  pen.fill();
  pen.fillStyle = "rgb(20 22 28)";
  pen.fillText(text, x + height * 0.4, y + height * 1.1);
  pen.restore();
}
