"use strict";
document.documentElement.classList.add("js");
const all = (what, from = document) => [...from.querySelectorAll(what)];
const data = id => JSON.parse(document.getElementById(id).textContent);
// Copying: with the clipboard where a page may use it, by a selection where it may not.
for (const button of all("button[data-copy]")) button.addEventListener("click", async () => {
  const text = button.dataset.copy, before = button.textContent;
  try { await navigator.clipboard.writeText(text); }
  catch {
    const area = document.createElement("textarea");
    area.value = text; document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = before; }, 1500);
});
// The slider: one drawing whose edges fade, and the round that it shows.
const slider = document.getElementById("round");
if (slider) {
  const steps = data("steps"), rounds = all(".round"), said = document.getElementById("round-said");
  const show = () => {
    const place = Number(slider.value), step = steps[place];
    rounds.forEach((round, n) => round.classList.toggle("now", n === place));
    said.textContent = rounds[place].dataset.title;
    slider.setAttribute("aria-valuetext", said.textContent);
    for (const svg of all("svg[data-cell]")) {
      for (const part of all("[data-edge]", svg)) {
        const share = step.shares[part.dataset.edge];
        part.style.opacity = share ? 0.25 + 0.75 * share : 0.08;
      }
      const lines = {};
      for (const text of all("[data-label]", svg)) (lines[text.dataset.label] ||= []).push(text);
      for (const [edge, texts] of Object.entries(lines)) {
        let words = step.labels[edge];
        if (words.length === 1) words = wrapped(words[0], texts.length);
        texts.forEach((text, n) => { text.textContent = words[n - texts.length + words.length] ?? ""; });
      }
    }
  };
  const wrapped = (name, most) => {
    const parts = name.split("_");
    while (parts.length > most) {
      let at = 0;
      for (let n = 1; n < parts.length - 1; n++)
        if (parts[n].length + parts[n + 1].length < parts[at].length + parts[at + 1].length) at = n;
      parts.splice(at, 2, parts[at] + "_" + parts[at + 1]);
    }
    return parts;
  };
  slider.addEventListener("input", show);
  for (const button of all("button[data-step]")) button.addEventListener("click", () => {
    slider.value = Number(slider.value) + Number(button.dataset.step); show();
  });
  show();
}
// Rows and edges light up together.
const light = (key, on) => {
  for (const part of all(`path[data-edge="${CSS.escape(key)}"]`)) part.classList.toggle("lit-edge", on);
  for (const row of all(`tr[data-key="${CSS.escape(key)}"]`)) row.classList.toggle("lit", on);
};
for (const kind of ["pointerover", "pointerout", "focusin", "focusout"]) document.addEventListener(kind, event => {
  const key = event.target.closest?.("tr[data-key]")?.dataset.key ?? event.target.closest?.("path[data-edge]")?.dataset.edge;
  if (key) light(key, kind === "pointerover" || kind === "focusin");
});
// Tables: sorted by a click on a head, filtered, some rows at a time.
const PAGE = 25, infinite = {inf: Infinity, "-inf": -Infinity, nan: NaN};
const shown = value => typeof value === "number" ? value.toLocaleString("en", Number.isInteger(value) ? {} : {maximumSignificantDigits: 4}) :
  value === "inf" ? "∞" : value === "-inf" ? "−∞" : value === "nan" ? "none" : value;
const whole = (text, marks, template) => {
  let place = 0;
  const filled = template ? template.replace(/#/g, () => text[place++]) : text;
  return filled.replace(/[A-Z]/g, mark => marks[mark] ?? mark);
};
const tables = {};
for (const table of all("table[data-rows]")) {
  const {columns, values: packed, marks, keys, template} = data(table.dataset.rows), body = table.tBodies[0];
  const values = packed.map(column => column.codes ? column.codes.map(code => column.texts[code]) : column);
  const count = values[0].length, box = table.closest("section");
  const filter = box.querySelector(".filter"), said = box.querySelector(".said");
  const [back, forth] = all("button[data-page]", box);
  const names = values.map((column, n) => columns[n].name === "architecture" ? column.map(text => whole(text, marks, template)) : column);
  tables[table.dataset.rows] = {columns, values: names};
  let order = [...Array(count).keys()], from = 0;
  const text = row => names.map(column => shown(column[row])).join(" ").toLowerCase();
  let haystack = null;
  const draw = () => {
    body.replaceChildren(...order.slice(from, from + PAGE).map(row => {
      const line = document.createElement("tr");
      if (keys) line.dataset.key = keys[row];
      names.forEach((column, n) => {
        const cell = line.insertCell(), value = column[row];
        cell.textContent = shown(value);
        if (typeof value === "string" && !(value in infinite)) cell.className = columns[n].name === "architecture" ? "text mono" : "text";
      });
      return line;
    }));
    const last = Math.min(from + PAGE, order.length);
    said.textContent = `${order.length ? from + 1 : 0} to ${last} of ${order.length.toLocaleString("en")} rows`;
    back.disabled = from === 0; forth.disabled = last >= order.length;
  };
  const key = (column, row) => { const value = column[row]; return value in infinite ? infinite[value] : value; };
  let sorted = -1, way = 1;
  all("th button", table).forEach((button, n) => button.addEventListener("click", () => {
    way = sorted === n ? -way : columns[n].note.startsWith("higher") ? -1 : 1; sorted = n;
    all("th", table).forEach((head, m) => head.setAttribute("aria-sort", m !== n ? "none" : way > 0 ? "ascending" : "descending"));
    const column = names[n];
    order.sort((a, b) => {
      const x = key(column, a), y = key(column, b);
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
      return x < y ? -way : x > y ? way : a - b;
    });
    from = 0; draw();
  }));
  filter.addEventListener("input", () => {
    haystack ||= [...Array(count).keys()].map(text);
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean), kept = new Set();
    haystack.forEach((line, row) => { if (words.every(word => line.includes(word))) kept.add(row); });
    order = [...Array(count).keys()].filter(row => kept.has(row));
    from = 0; sorted = -1; all("th", table).forEach(head => head.setAttribute("aria-sort", "none")); draw();
  });
  back.addEventListener("click", () => { from = Math.max(0, from - PAGE); draw(); });
  forth.addEventListener("click", () => { from += PAGE; draw(); });
  draw();
}
// Dots of a scatter: which architecture is next to the pointer.
for (const path of all("path[data-dots]")) {
  const svg = path.ownerSVGElement, caption = svg.closest("figure").querySelector(".pointed"), rows = tables.rows;
  if (!rows || !caption) continue;
  const places = path.getAttribute("d").split("M").slice(1).map(text => text.split(/[ h]/).map(Number));
  const numbers = path.dataset.rows ? path.dataset.rows.split(" ").flatMap(run => {
    const [first, last = first] = run.split("-").map(Number);
    return Array.from({length: last - first + 1}, (_, n) => first + n);
  }) : null;
  svg.addEventListener("pointermove", event => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = -1, least = 100;
    places.forEach(([x, y], n) => { const d = (x - point.x) ** 2 + (y - point.y) ** 2; if (d < least) { least = d; best = n; } });
    if (best < 0) { caption.textContent = ""; return; }
    const row = numbers ? numbers[best] : best;
    caption.textContent = rows.columns.map((c, n) => `${c.label} ${shown(rows.values[n][row] ?? "not listed")}`).slice(0, 8).join(", ");
  });
}
