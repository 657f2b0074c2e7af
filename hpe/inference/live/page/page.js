"use strict";
const WINDOW_S = 10;
const ANGLES = ["yaw", "pitch", "roll"];
const element = (name) => document.getElementById(name);
let points = [];
let shownFace = null;

function state(text, live) {
  element("state").textContent = text;
  element("state").classList.toggle("live", live);
}

function show(seen) {
  const title = seen.source.split("/").pop();
  element("source").textContent = seen.source.includes("://") ? seen.source : title;
  element("frame").textContent = `frame ${seen.frame}, ${seen.time_s.toFixed(1)} s, ${seen.width} x ${seen.height} pixels`;
  element("nobody").hidden = seen.faces.length > 0;
  showFaces(seen.faces);
  for (const row of document.querySelectorAll("[data-rate]")) {
    const rate = (seen.rates || {})[row.dataset.rate];
    const searched = rate && rate.per_second > 0;
    row.cells[1].textContent = rate ? rate.per_second.toFixed(1) : "";
    row.cells[2].textContent = searched ? rate.ms.toFixed(1) : "–";
  }
  remember(seen);
  requestAnimationFrame(plot);
}

function signed(degrees) {
  const text = Math.abs(degrees).toFixed(1);
  return (text === "0.0" ? "" : degrees < 0 ? "−" : "+") + text + "°";
}

function showFaces(unsorted) {
  const faces = [...unsorted].sort((one, other) => one.face - other.face);
  const list = element("faces");
  while (list.children.length > faces.length) list.lastChild.remove();
  while (list.children.length < faces.length) list.append(newFace());
  faces.forEach((face, index) => {
    const card = list.children[index];
    card.querySelector("h3 span").textContent = `Face ${face.face}`;
    const notes = [face.score === null ? "" : `score ${face.score.toFixed(2)}`];
    if (face.relative === 1) notes.push("from the neutral look");
    if (face.relative === 0) notes.push("watching the neutral look");
    card.querySelector("h3 small").textContent = notes.filter(Boolean).join(", ");
    for (const angle of ANGLES) {
      const cell = card.querySelector(`dd.${angle}`);
      const spread = face[`${angle}_spread_deg`];
      cell.firstChild.textContent = signed(face[`${angle}_deg`]);
      cell.lastChild.textContent = spread === null ? "" : `± ${spread.toFixed(1)}°`;
    }
  });
}

function newFace() {
  const card = document.createElement("div");
  card.className = "face";
  card.innerHTML = "<h3><span></span><small></small></h3><dl>" +
    ANGLES.map((angle) => `<div><dt>${angle}</dt><dd class="${angle}"><span></span><small></small></dd></div>`).join("") + "</dl>";
  return card;
}

function remember(seen) {
  const numbers = seen.faces.map((face) => face.face);
  if (points.length && (seen.time_s < points[points.length - 1].time_s)) points = [];
  if (!numbers.includes(shownFace) && numbers.length) {
    shownFace = Math.min(...numbers);
    points = [];
  }
  const face = seen.faces.find((other) => other.face === shownFace);
  points.push({ time_s: seen.time_s, relative: face && face.relative, pose: face && ANGLES.map((angle) => face[`${angle}_deg`]) });
  points = points.filter((point) => point.time_s > seen.time_s - WINDOW_S);
  element("whose").textContent = shownFace === null ? "" : `of face ${shownFace}`;
}

function plot() {
  const canvas = element("plot");
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const density = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * density) || canvas.height !== Math.round(height * density)) {
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(density, 0, 0, density, 0, 0);
  pen.clearRect(0, 0, width, height);
  const style = getComputedStyle(document.documentElement);
  const largest = Math.max(0, ...points.flatMap((point) => (point.pose || []).map(Math.abs)));
  const limit = Math.max(30, Math.ceil(largest / 15) * 15);
  const [left, top, bottom] = [44, 6, 6];
  const y = (degrees) => top + (1 - (degrees + limit) / (2 * limit)) * (height - top - bottom);
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const degrees of [-limit, -limit / 2, 0, limit / 2, limit]) {
    pen.strokeStyle = style.getPropertyValue(degrees === 0 ? "--muted" : "--line");
    pen.lineWidth = 1;
    line(pen, [[left, y(degrees)], [width, y(degrees)]]);
    pen.fillStyle = style.getPropertyValue("--muted");
    const shift = Math.sign(degrees) * 5;
    pen.fillText(`${degrees}°`.replace("-", "−"), left - 7, y(degrees) + shift);
  }
  if (!points.length) return;
  const last = points[points.length - 1].time_s;
  const x = (time) => left + (1 - (last - time) / WINDOW_S) * (width - left - 2);
  pen.lineWidth = 2;
  pen.lineJoin = "round";
  ANGLES.forEach((angle, index) => {
    pen.strokeStyle = style.getPropertyValue(`--${angle}`);
    for (const run of runs()) line(pen, run.map((point) => [x(point.time_s), y(point.pose[index])]));
  });
}

function runs() {
  const all = [[]];
  for (const point of points) {
    const before = all[all.length - 1];
    if (!point.pose || (before.length && before[0].relative !== point.relative)) all.push([]);
    if (point.pose) all[all.length - 1].push(point);
  }
  return all;
}

function line(pen, places) {
  pen.beginPath();
  for (const [x, y] of places) pen.lineTo(x, y);
  pen.stroke();
}

window.addEventListener("resize", plot);
