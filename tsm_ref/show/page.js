"use strict";
// Search and sort over the clips, and a timeline that marks its frames. Text is never made into HTML.
const clips = [...document.querySelectorAll("article")];
const search = document.getElementById("search");
const order = document.getElementById("order");
const count = document.getElementById("count");

function look() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const clip of clips) {
    const fits = words.every((word) => clip.dataset.text.includes(word));
    clip.hidden = !fits;
    shown += fits;
  }
  count.textContent = `${shown} of ${clips.length} shown`;
}

function sort() {
  const key = order.value;
  const value = (clip) => (key === "place" || key === "probability" ? Number(clip.dataset[key]) : clip.dataset[key]);
  const sorted = [...clips].sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
  for (const clip of sorted) clip.parentNode.append(clip);
}

if (search) {
  search.form.addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", look);
  order.addEventListener("change", sort);
}

for (const button of document.querySelectorAll(".timeline button")) {
  button.addEventListener("click", () => {
    const clip = button.closest("article");
    const off = button.getAttribute("aria-pressed") === "true";
    for (const other of clip.querySelectorAll(".timeline button")) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", String(!off));
    clip.querySelector(".told").textContent = off ? "" : button.getAttribute("aria-label");
    for (const frame of clip.querySelectorAll("figure")) {
      const time = Number(frame.dataset.time);
      frame.classList.toggle("in", !off && time >= Number(button.dataset.start) && time < Number(button.dataset.end));
    }
  });
}
