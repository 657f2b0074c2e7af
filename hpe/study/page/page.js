"use strict";
// Which one do I ship? Filters the models of this page by place and limits, and says why one is left.
const { places, sets } = JSON.parse(document.getElementById("page-data").textContent);
const SHAPES = {
  dense: "M2 2h12v12H2z", magnitude: "M8 1.5a6.5 6.5 0 1 0 .01 0z", channel: "M8 1.5 15 14.5H1z",
  hybrid: "M8 1 15 8 8 15 1 8z", block: "M6 1h4v5h5v4h-5v5H6v-5H1V6h5z",
};
const TITLES = {
  dense: "Dense", magnitude: "Unstructured", channel: "Structured", hybrid: "Both", block: "Whole blocks",
};
const at = (id) => document.getElementById(id);
const limit = (id) => (at(id).value === "" ? Infinity : Number(at(id).value));
const number = (value, digits) => value.toLocaleString("en-US", { maximumFractionDigits: digits });

// What a model costs at a place: one entry for each engine there.
function costs(model, place) {
  if (place.board) {
    return Object.entries(model.boards[place.board] || {}).map(([engine, cost]) => ({ engine, ...cost }));
  }
  const source = model.short ? "short" : "";
  return [{ engine: null, fits: true, source, flash: model.bytes, ram: model.gzip, ms: model.ms }];
}

// The first limit that a cost breaks, in words; null where it breaks none.
function broken(model, cost, limits) {
  if (model.error > limits.error) return "error too high";
  if (!cost.fits) return "does not fit the board";
  for (const [key, words] of [["flash", "too large"], ["ram", limits.ramWords], ["ms", "too slow"]]) {
    if (limits[key] === Infinity) continue;
    if (cost[key] === null) return "not measured";
    if (cost[key] > limits[key]) return words;
  }
  return null;
}

const speed = (cost) => (cost.ms === null ? Infinity : cost.ms);
const size = (cost) => (cost.flash === null ? Infinity : cost.flash);
const second = (cost) => (cost.ram === null ? Infinity : cost.ram);

// Each model with its best engine within the limits, and how many were left out for which reason.
function candidates(models, place, limits) {
  const left = [];
  const out = new Map();
  models.forEach((model, index) => {
    const known = costs(model, place);
    const allowed = known.filter((cost) => broken(model, cost, limits) === null);
    allowed.sort((a, b) => speed(a) - speed(b) || size(a) - size(b));
    if (allowed.length) return left.push({ index, model, cost: allowed[0] });
    const closest = known.find((cost) => cost.fits) || known[0];
    const reason = closest ? broken(model, closest, limits) : "not measured there";
    return out.set(reason, (out.get(reason) || 0) + 1);
  });
  return { left, out };
}

// The interval of the difference in error, first less second, and its standard error; null where it was not tested.
function interval(set, first, second) {
  const key = `${Math.min(first, second)},${Math.max(first, second)}`;
  const pair = set.pairs[key];
  if (!pair) return null;
  const [low, high, error] = pair;
  return first < second ? pair : [-high, -low, error];
}

function figures(entry, place) {
  const { model, cost } = entry;
  const spread = model.sd === null ? `(n = ${model.n})` : `± ${model.sd.toFixed(2)} (n = ${model.n})`;
  const mark = ["estimated", "short"].includes(cost.source) ? ` (${cost.source})` : "";
  const board = cost.engine !== null;
  const rows = [["error", `${model.error.toFixed(2)}° ${spread}`]];
  if (cost.flash !== null) rows.push([board ? "flash" : "int8 file", `${number(cost.flash / 1e3, 0)} kB`]);
  if (cost.ram !== null) rows.push([board ? "RAM" : "after gzip", `${number(cost.ram / 1e3, 0)} kB`]);
  if (cost.ms !== null) rows.push(["time", `${number(cost.ms, cost.ms < 10 ? 2 : 0)} ms${mark}`]);
  if (board) rows.push(["engine", place.engines[cost.engine] || cost.engine]);
  return rows;
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function card(entry, place, picked, why) {
  const family = entry.model.family;
  const made = element("article", "", picked ? "card pick" : "card");
  made.style.setProperty("--family", `var(--${family})`);
  const heading = element("h3");
  heading.innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${SHAPES[family]}"/></svg>`;
  heading.append(TITLES[family]);
  const list = element("dl");
  for (const [name, value] of figures(entry, place)) list.append(element("dt", name), element("dd", value));
  const role = entry.model.role === "control" ? " (a control)" : "";
  made.append(heading, element("p", entry.model.name + role, "name"), list, element("p", why));
  return made;
}

// The model with the least error by which models are chosen: on validation faces, where all were tried on some.
const least = (entries) => entries.reduce((a, b) => (b.model.choice < a.model.choice ? b : a));

// The one to ship: the smallest whose error is within one standard error of the least one (Breiman et al. 1984). What
// merely cannot be told apart may be much worse, where runs spread and few were made. Of files of one size the one that
// takes less RAM (after gzip, where there is no board), then the one with less error. No control, unless nothing else
// passes.
function choose(set, left) {
  const shippable = left.filter((entry) => entry.model.role !== "control");
  const able = shippable.length ? shippable : left;
  const best = least(able);
  const near = able.filter((entry) => {
    const between = interval(set, entry.index, best.index);
    return entry === best || (between !== null && entry.model.error - best.model.error <= between[2]);
  });
  const order = (a, b) => {
    const keys = [[size(a.cost), size(b.cost)], [second(a.cost), second(b.cost)], [a.model.choice, b.model.choice]];
    const [less, more] = keys.find(([x, y]) => x !== y) || [0, 0];
    return less - more;
  };
  return { able, best, near, pick: [...near].sort(order)[0] };
}

// Why a model was picked among those that are as good as the best.
function smallness(place, pick, near) {
  const tied = near.some((entry) => entry !== pick && size(entry.cost) === size(pick.cost));
  if (!tied) return place.board ? "takes the least flash" : "has the smallest file";
  if (place.board) return "takes no more flash than any, and then the least RAM";
  return "has a file as small as any, and then the smallest after gzip";
}

function against(set, entry, pick) {
  if (entry === pick) return "The one to ship.";
  const more = entry.model.error - pick.model.error;
  const words = `${Math.abs(more).toFixed(2)}° ${more < 0 ? "better" : "worse"} than ${pick.model.name}`;
  const between = interval(set, entry.index, pick.index);
  if (between === null) return `${words}; not tested.`;
  const range = `95 % interval ${between[0].toFixed(2)} to ${between[1].toFixed(2)}`;
  return between[0] <= 0 && between[1] >= 0 ? `${words}, which may be chance (${range}).` : `${words} (${range}).`;
}

function explain(set, place, found) {
  const { left, out } = found;
  const total = set.models.length;
  const reasons = [...out].map(([reason, count]) => `${reason}: ${count}`).join(", ");
  const passed = `${left.length} of ${total} models pass${reasons ? `; left out: ${reasons}` : ""}.`;
  if (!left.length) return { lines: ["No model passes.", passed], pick: null };
  const { able, best, near, pick } = choose(set, left);
  const lines = [null, passed];
  const what = smallness(place, pick, near);
  const erring = set.chosenBy ? `the least error on ${set.chosenBy}` : "the least error";
  if (pick !== best) {
    lines.push(`${best.model.name} has ${erring}${set.chosenBy ? ", here" : ","} ${best.model.error.toFixed(2)}°. ${near.length - 1} other `
      + `model${near.length > 2 ? "s are" : " is"} within one standard error of it; of all these, `
      + `${pick.model.name} ${what}.`);
  } else if (left.length > 1 && near.length > 1) {
    lines.push(`It has ${erring}, and ${what} of the ${near.length} within one standard error of that.`);
  } else if (able.length > 1) {
    const untested = able.filter((entry) => entry !== best && interval(set, entry.index, best.index) === null).length;
    if (untested === able.length - 1) {
      lines.push(`It has ${erring}. Poses were not noted face by face, so nothing says how much of that is chance.`);
    } else {
      lines.push(`It has ${erring}${untested ? `. ${untested} ${untested === 1 ? "was" : "were"} not tested against it; of the others none` : ", and no other"} is within one standard error of it.`);
    }
  }
  if (least(left) !== best && pick === best) lines.push("A control errs less.");
  if (!set.chosenBy) lines.push("It was chosen by the errors that are told, so that it looks a little better than it is.");
  const once = set.facesAlone ? left.filter((entry) => entry.model.n === 1).length : 0;
  if (once) lines.push(`${once === left.length ? "All" : once} of these were trained once (n = 1): another seed may turn their order round.`);
  return { lines, pick };
}

function show() {
  const set = sets[Number(at("data").value) || 0];
  const place = places[Number(at("place").value) || 0];
  at("flash-name").textContent = place.board ? "Flash, at most" : "int8 file, at most";
  at("ram-name").textContent = place.board ? "RAM, at most" : "After gzip, at most";
  at("flash").placeholder = place.flash ? number(place.flash / 1e3, 0) : "any";
  at("ram").placeholder = place.ram ? number(place.ram / 1e3, 0) : "any";
  const limits = { error: limit("error"), flash: limit("flash") * 1e3, ram: limit("ram") * 1e3, ms: limit("ms"),
    ramWords: place.board ? "too much RAM" : "too large after gzip" };
  const found = candidates(set.models, place, limits);
  const { lines, pick } = explain(set, place, found);
  const answer = at("answer");
  answer.replaceChildren();
  if (pick) {
    const line = element("p", "Ship ", "pick");
    line.append(element("strong", pick.model.name), `: ${figures(pick, place).map(([name, value]) => `${name} ${value}`).join(", ")}.`);
    answer.append(line);
  }
  lines.filter(Boolean).forEach((line) => answer.append(element("p", line)));
  const families = at("families");
  families.replaceChildren();
  const shown = new Set();
  for (const family of Object.keys(TITLES)) {
    const mine = found.left.filter((entry) => entry.model.family === family);
    if (!mine.length) continue;
    const best = mine.includes(pick) ? pick : least(mine);
    shown.add(best.model.name);
    families.append(card(best, place, best === pick, against(set, best, pick)));
  }
  mark(pick ? pick.model.name : null);
}

// The chosen model in plots and tables.
function mark(name) {
  document.querySelectorAll("g[id*='-point-']").forEach((point) => {
    point.querySelectorAll(".ring").forEach((ring) => ring.remove());
    const title = point.querySelector("title");
    const drawn = point.querySelector("use");
    if (name === null || title === null || drawn === null || !title.textContent.startsWith(`${name}: `)) return;
    const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [key, value] of [["cx", drawn.getAttribute("x")], ["cy", drawn.getAttribute("y")], ["r", 8]]) {
      ring.setAttribute(key, value);
    }
    ring.setAttribute("class", "ring");
    point.append(ring);
  });
  document.querySelectorAll("tr[data-model]").forEach((row) => {
    row.classList.toggle("chosen", row.dataset.model === name);
  });
}

// The first place where one of the models runs: there the page opens.
function opening(models) {
  const any = { error: Infinity, flash: Infinity, ram: Infinity, ms: Infinity };
  return Math.max(0, places.findIndex((place) => candidates(models, place, any).left.length));
}

const opened = opening(sets[0].models);
sets.forEach((set, index) => at("data").append(new Option(set.spec, index)));
places.forEach((place, index) => at("place").append(new Option(place.title, index, index === opened, index === opened)));
at("data-field").hidden = sets.length < 2;
at("limits").addEventListener("input", show);
at("limits").addEventListener("submit", (event) => event.preventDefault());
at("limits").addEventListener("reset", () => setTimeout(show));
show();
