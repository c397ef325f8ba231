"use strict";
// Files to /recognize, the camera to /stream. Names and labels are text, never made into HTML.
const id = (name) => document.getElementById(name);
const results = id("results"), told = id("told"), model = id("model");
const MOST_FRAMES_WAITING = 2, WIDTH = 320, EVERY = 100;

function made(tag, text, kind) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

function drawing(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const time = (seconds) => `${seconds.toFixed(2)} s`;

function bars(rows) {
  return rows.map((row) => {
    const line = made("div", undefined, "row"), bar = drawing("svg", { "aria-hidden": "true" });
    bar.append(drawing("rect", { width: `${100 * row.probability}%`, height: "100%", rx: "3" }));
    line.append(made("span", row.label), bar, made("span", percent(row.probability)));
    return line;
  });
}

async function sentence(answer) {
  try { return (await answer.json()).detail; } catch { return `the server answered ${answer.status}`; }
}

async function start() {
  try {
    const answer = await fetch("models");
    if (!answer.ok) throw new Error(await sentence(answer));
    const known = await answer.json();
    for (const each of known.models) {
      const option = made("option", each.name);
      option.value = each.name;
      option.dataset.streams = each.streams;
      model.append(option);
    }
    model.value = known.default;
    look();
  } catch (error) { told.textContent = error.message; }
}

function look() {
  const streams = model.selectedOptions[0]?.dataset.streams === "true";
  id("camera").disabled = !streams || !navigator.mediaDevices;
  id("camera").title = streams ? "" : "this model does not stream";
}

// One file after the other: the server has other guests.
let queue = Promise.resolve();
function take(files) {
  for (const file of files) {
    const card = made("article");
    card.append(made("h2", file.name), made("progress"));
    results.prepend(card);
    queue = queue.then(() => recognize(file, card));
  }
}

async function recognize(file, card) {
  const asked = new URLSearchParams({ name: file.name, model: model.value });
  try {
    for (;;) {
      const answer = await fetch(`recognize?${asked}`, {
        method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
      if (answer.status === 503) {
        const seconds = Math.min(60, Number(answer.headers.get("Retry-After")) || 1);
        await new Promise((done) => setTimeout(done, 1000 * seconds));
        continue;
      }
      if (!answer.ok) throw new Error(await sentence(answer));
      show(await answer.json(), file, card);
      return;
    }
  } catch (error) {
    const said = error instanceof TypeError ? "the server cannot be reached, or refused to read on" : error.message;
    card.replaceChildren(made("h2", file.name), made("p", said, "bad"));
  }
}

function show(tree, file, card) {
  const several = tree.segments.length > 1 && !tree.heads;
  const labels = tree.segments.map((s) => s.label).filter((l, k, all) => l !== all[k - 1]);
  const said = several ? labels.join(" → ") : whole(tree);
  const film = document.createElement("video");
  film.controls = true;
  film.muted = true;
  film.preload = "metadata";
  film.setAttribute("aria-label", file.name);
  film.src = URL.createObjectURL(file);
  film.addEventListener("error", () => { URL.revokeObjectURL(film.src); film.hidden = true; });
  card.replaceChildren(made("h2", file.name), made("p", said, "answer"), film);
  if (several) card.append(...timeline(tree.segments, film));
  for (const head of Object.values(tree.heads ?? {one: tree})) card.append(...bars(head.predictions));
  const facts = `${tree.model.name} on ${tree.model.engine}: ${tree.input.frame_count} frames of ` +
    `${tree.input.width}x${tree.input.height} in ${time(tree.timing.total)}`;
  card.append(made("p", facts, "soft"));
  for (const warning of tree.warnings) card.append(made("p", warning, "soft"));
}

function whole(tree) {
  if (tree.heads) return Object.entries(tree.heads).map(([k, t]) => `${k}: ${whole(t)}`).join("; ");
  const held = tree.predictions.filter((p) => tree.labels.includes(p.label));
  return held.map((p) => `${p.label} (${percent(p.probability)})`).join(", ") || "none";
}

function timeline(segments, film) {
  const group = made("div", undefined, "timeline"), line = made("p", "", "soft");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "timeline");
  line.setAttribute("role", "status");
  for (const segment of segments) {
    const button = made("button", segment.label);
    const text = `${segment.start.toFixed(2)} to ${time(segment.end)}: ${segment.label} (${percent(segment.probability)})`;
    button.type = "button";
    button.title = text;
    button.setAttribute("aria-label", text);
    button.setAttribute("aria-pressed", "false");
    button.style.flex = `${segment.end - segment.start} 1 0`;
    button.addEventListener("click", () => {
      for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
      line.textContent = text;
      film.currentTime = segment.start;
    });
    group.append(button);
  }
  return [group, line];
}

let camera = null;
async function begin() {
  const view = id("view");
  const media = await navigator.mediaDevices.getUserMedia({ video: { width: WIDTH } });
  const address = new URL("stream", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.search = new URLSearchParams({ model: model.value });
  const socket = new WebSocket(address);
  camera = { media, socket, timer: 0, waiting: 0, ended: false };
  const own = camera;
  socket.addEventListener("open", () => { own.timer = setInterval(() => send(own), EVERY); });
  socket.addEventListener("message", (message) => hear(JSON.parse(message.data)));
  socket.addEventListener("close", (event) => {
    if (!own.ended) told.textContent = event.reason || "the server ended the stream, or has no room for it now";
    if (camera === own) stop();
  });
  view.srcObject = media;
  id("live").hidden = false;
  id("events").replaceChildren();
  await view.play();
}

// A frame that the line cannot take now is not sent; the server drops those that it cannot.
function send(own) {
  const view = id("view"), canvas = document.createElement("canvas");
  if (!view.videoWidth || own.socket.bufferedAmount || own.waiting >= MOST_FRAMES_WAITING) return;
  canvas.width = WIDTH;
  canvas.height = Math.round(WIDTH * view.videoHeight / view.videoWidth);
  canvas.getContext("2d").drawImage(view, 0, 0, canvas.width, canvas.height);
  own.waiting += 1;
  canvas.toBlob((blob) => {
    own.waiting -= 1;
    if (blob && own.socket.readyState === WebSocket.OPEN) own.socket.send(blob);
  }, "image/jpeg", 0.9);
}

function hear(event) {
  if (event.error) { told.textContent = event.error.detail; return; }
  if (event.ended) return;
  id("now").textContent = event.label;
  id("bars").replaceChildren(...bars(event.top));
  const late = event.latency === null ? "" : `, ${(1000 * event.latency).toFixed(1)} ms each`;
  id("facts").textContent = `${time(event.time)}${late}, ${event.dropped} frames dropped`;
  if (!event.changed) return;
  id("events").prepend(made("li", `${time(event.time)}  ${event.label}`));
  while (id("events").children.length > 200) id("events").lastChild.remove();
}

function stop() {
  if (!camera) return;
  camera.ended = true;
  clearInterval(camera.timer);
  for (const track of camera.media.getTracks()) track.stop();
  camera.socket.close();
  camera = null;
  id("view").srcObject = null;
  id("camera").setAttribute("aria-pressed", "false");
  id("camera").textContent = "Use the camera";
}

id("camera").addEventListener("click", async () => {
  told.textContent = "";
  if (camera) { stop(); return; }
  id("camera").setAttribute("aria-pressed", "true");
  id("camera").textContent = "Stop the camera";
  try { await begin(); } catch (error) {
    stop();
    id("camera").setAttribute("aria-pressed", "false");
    id("camera").textContent = "Use the camera";
    told.textContent = `the camera cannot be used: ${error.message}`;
  }
});

const drop = id("drop");
for (const name of ["dragover", "dragenter"]) {
  drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files);
});
// A file that misses the zone would replace the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
id("file").addEventListener("change", () => { take(id("file").files); id("file").value = ""; });
id("form").addEventListener("submit", (event) => event.preventDefault());
model.addEventListener("change", look);
start();
