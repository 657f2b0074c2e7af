"use strict";
// The reader's camera takes the place of the server: the sketch of a board, as WebAssembly, searches and follows the face.
// MODEL (name, note, wasm, colours) stands before this script.
const RATES_OVER_MS = 1000;
const VERDICTS = ["again", "face", "searching", "no face", "lost"];  // sketch::Verdict
const STATES = { face: "face", searching: "searching", "no face": "searching", lost: "face lost" };
const video = document.createElement("video");
const canvas = document.createElement("canvas");  // what the reader sees
const small = document.createElement("canvas");   // what the sketch sees
let sketch = null;
let begun = "";
let faceNumber = 0;
let frames = [];
let frameNumber = 0;
let startedMs = 0;
let sourceName = "";

async function loadSketch() {
  const bytes = Uint8Array.from(atob(MODEL.wasm), (letter) => letter.charCodeAt(0));
  const lroundf = (x) => Math.sign(x) * Math.round(Math.abs(x));
  const { instance } = await WebAssembly.instantiate(bytes, { env: { expf: Math.exp, logf: Math.log, lroundf } });
  return instance.exports;
}

// What the sketch says of a picture: RGBA bytes of width x height pixels.
function follow(pixels, width, height) {
  if (begun !== `${width} x ${height}`) {
    sketch.web_begin(width, height);
    begun = `${width} x ${height}`;
  }
  new Uint8Array(sketch.memory.buffer, sketch.web_pixels(), pixels.length).set(pixels);
  const verdict = VERDICTS[sketch.web_follow()];
  const [x, y, side, yaw, pitch, roll, score, looks, followed] = new Float32Array(sketch.memory.buffer, sketch.web_answer(), 9);
  return { verdict, x, y, side, yaw, pitch, roll, score, looks, followed: followed === 1 };
}

// Where the axes red, green, blue of unit length end: x to the right, y down.
function axisEnds(yawDeg, pitchDeg, rollDeg) {
  const [yaw, pitch, roll] = [yawDeg, pitchDeg, rollDeg].map((degrees) => degrees * Math.PI / 180);
  const [cy, cp, cr] = [yaw, pitch, roll].map(Math.cos);
  const [sy, sp, sr] = [yaw, pitch, roll].map(Math.sin);
  return [[cy * cr, cp * sr - sp * sy * cr], [-cy * sr, sp * sy * sr + cp * cr], [-sy, -sp * cy]];
}

function shrunk() {
  const scale = Math.min(1, sketch.web_longest_side() / Math.max(video.videoWidth, video.videoHeight));
  const width = Math.max(1, Math.round(video.videoWidth * scale));
  const height = Math.max(1, Math.round(video.videoHeight * scale));
  if (small.width !== width || small.height !== height) [small.width, small.height] = [width, height];
  const pen = small.getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  pen.drawImage(video, 0, 0, width, height);
  return pen.getImageData(0, 0, width, height);
}

function look() {
  if (!sourceName) return;
  const start = performance.now();
  const picture = shrunk();
  const seen = follow(picture.data, picture.width, picture.height);
  const end = performance.now();
  if (seen.verdict === "face" && !seen.followed) ++faceNumber;
  draw(seen, video.videoWidth / picture.width);
  state(STATES[seen.verdict], seen.verdict === "face");
  show({
    source: sourceName, frame: frameNumber++, time_s: (start - startedMs) / 1000, width: video.videoWidth,
    height: video.videoHeight, rates: rates({ start, end, looks: seen.looks }), faces: seen.verdict === "face" ? [face(seen)] : [],
  });
  next();
}

function face(seen) {
  const told = { face: faceNumber, score: seen.score, relative: null };
  for (const angle of ANGLES) Object.assign(told, { [`${angle}_deg`]: seen[angle], [`${angle}_spread_deg`]: null });
  return told;
}

// The frame before the last second stays first: the time is counted from its end, and it is left out of the counts.
function rates(frame) {
  const before = frames[frames.length - 1];
  frames.push(frame);
  while (before && frames[1].start <= frame.start - RATES_OVER_MS) frames.shift();
  const counted = before ? frames.slice(1) : frames;
  const seconds = Math.max(frame.end - (before ? frames[0].end : frame.start), 1) / 1000;
  const looks = counted.reduce((sum, other) => sum + other.looks, 0);
  const busy = counted.reduce((sum, other) => sum + other.end - other.start, 0);
  return {
    camera: { per_second: counted.length / seconds, ms: before ? frame.start - before.end : 0 },
    network: { per_second: looks / seconds, ms: busy / looks },
  };
}

function draw(seen, scale) {
  if (canvas.width !== video.videoWidth || canvas.height !== video.videoHeight) {
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  }
  const pen = canvas.getContext("2d");
  pen.drawImage(video, 0, 0);
  if (seen.verdict !== "face") return;
  const [x, y, side] = [seen.x, seen.y, seen.side].map((pixels) => pixels * scale);
  pen.lineWidth = Math.max(2, side / 80);
  pen.strokeStyle = MODEL.colours.box;
  pen.strokeRect(x, y, side, side);
  axisEnds(seen.yaw, seen.pitch, seen.roll).forEach(([right, down], index) => {
    pen.strokeStyle = MODEL.colours.axes[index];
    pen.lineWidth = Math.max(3, side / 40);
    line(pen, [[x + side / 2, y + side / 2], [x + side * (0.5 + 0.4 * right), y + side * (0.5 + 0.4 * down)]]);
  });
}

function next() {
  if (video.requestVideoFrameCallback) return video.requestVideoFrameCallback(look);
  requestAnimationFrame(look);
}

async function start(name) {
  await video.play();
  startedMs = performance.now();
  sourceName = name;
  canvas.hidden = false;
  element("blank").hidden = true;
  next();
}

async function startCamera() {
  if (!navigator.mediaDevices) return state("a browser lends its camera to files, https and localhost alone: open a video", false);
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 640 } } });
  } catch (error) {
    const why = error.name === "NotAllowedError" ? "the camera was not allowed: allow it beside the address" : "no camera answers";
    return state(`${why}, or open a video`, false);
  }
  await start(video.srcObject.getVideoTracks()[0].label || "camera");
}

async function startFile(file) {
  video.src = URL.createObjectURL(file);
  video.loop = true;
  try {
    await start(file.name);
  } catch (error) {
    state(`this browser cannot play ${file.name}`, false);
  }
}

function build() {
  video.muted = video.playsInline = true;
  canvas.id = "picture";
  canvas.hidden = true;
  element("picture").replaceWith(canvas);
  element("blank").innerHTML = '<button id="camera" type="button">Start the camera</button>' +
    '<label>or open a video <input id="file" type="file" accept="video/*"></label>';
  element("camera").onclick = startCamera;
  element("file").onchange = (event) => { if (event.target.files.length) startFile(event.target.files[0]); };
  element("neutral").remove();
  document.querySelector("[data-rate=detector]").remove();
  document.querySelector("[data-rate=network] small").textContent = "a look; a face that is followed takes one or two";
  element("hint").textContent = `${MODEL.name}. ${MODEL.note} Nothing that the camera sees leaves this page.`;
}

build();
loadSketch().then((loaded) => {
  sketch = loaded;
  state("ready", false);
});
