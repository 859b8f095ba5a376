"use strict";
// Sorting, filtering and hiding: what is chosen stands in the address behind #, so that a link keeps it.
const state = new URLSearchParams(location.hash.slice(1));
const keep = () => history.replaceState(null, "", state.size ? `#${state}` : location.pathname + location.search);

function number(cell) {
  const value = cell.dataset.value ?? cell.textContent;
  return value === "" ? NaN : Number(value);
}

function sortRows(table, column, ascending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].filter((row) => !row.classList.contains("mark"));
  const marks = [...body.rows].filter((row) => row.classList.contains("mark"));
  const key = (row) => row.cells[column];
  const numeric = rows.every((row) => key(row).dataset.value !== undefined);
  rows.sort((a, b) => {
    if (!numeric) return key(a).textContent.localeCompare(key(b).textContent) * (ascending ? 1 : -1);
    const [x, y] = [number(key(a)), number(key(b))];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return (x - y) * (ascending ? 1 : -1);
  });
  body.append(...rows, ...marks);
  for (const [index, head] of [...table.tHead.rows[0].cells].entries()) {
    if (index === column) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
}

function makeSortable(table) {
  for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      sortRows(table, column, ascending);
      state.set(`sort-${table.id}`, `${ascending ? "" : "-"}${column}`);
      keep();
    });
  }
  const kept = state.get(`sort-${table.id}`);
  if (kept) sortRows(table, Math.abs(Number(kept)), !kept.startsWith("-"));
}

// Arms are shown whose every axis value is chosen.
function applyFilter() {
  const off = new Set([...document.querySelectorAll(".controls input:not(:checked)")].map((box) => box.name + "\u0000" + box.value));
  const hidden = new Set();
  for (const row of document.querySelectorAll("[data-cell]")) {
    const cell = JSON.parse(row.dataset.cell);
    row.hidden = Object.entries(cell).some(([axis, value]) => off.has(axis + "\u0000" + value));
    if (row.hidden) hidden.add(row.dataset.label);
  }
  for (const shape of document.querySelectorAll("svg [data-arm]")) {
    shape.style.opacity = hidden.has(shape.dataset.arm) ? 0.06 : "";
  }
  for (const grid of document.querySelectorAll("figure[data-arm]")) grid.hidden = hidden.has(grid.dataset.arm);
  if (window.drawTrials) window.drawTrials();
}

function restoreFilter() {
  for (const box of document.querySelectorAll(".controls input[type=checkbox]")) {
    if (state.getAll("hide").includes(`${box.name}=${box.value}`)) box.checked = false;
    box.addEventListener("change", () => {
      const off = [...document.querySelectorAll(".controls input:not(:checked)")].map((each) => `${each.name}=${each.value}`);
      state.delete("hide");
      for (const each of off) state.append("hide", each);
      keep();
      applyFilter();
    });
  }
  document.querySelector(".reset")?.addEventListener("click", () => {
    for (const box of document.querySelectorAll(".controls input")) box.checked = true;
    state.delete("hide");
    keep();
    applyFilter();
  });
}

// Trials, however many: only the rows in view are in the page.
function showTrials() {
  const data = document.getElementById("trials-data");
  const frame = document.getElementById("trials");
  if (!data || !frame) return;
  const { columns, arms, rows } = JSON.parse(data.textContent);
  for (const row of rows) row[1] = arms[row[1]];
  const body = frame.querySelector("tbody"), heads = frame.querySelectorAll("th");
  const ROW = 31;
  let order = rows.map((_, index) => index), sorted = state.get("sort-trials");
  const filter = document.getElementById("trials-filter");
  filter.value = state.get("find") ?? "";
  const matches = (row, words) => words.every((word) => row.some((value) => String(value ?? "").toLowerCase().includes(word)));

  function arrange() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    order = rows.map((_, index) => index).filter((index) => matches(rows[index], words));
    if (sorted) {
      const column = Math.abs(Number(sorted)), sign = sorted.startsWith("-") ? -1 : 1;
      order.sort((a, b) => {
        const [x, y] = [rows[a][column], rows[b][column]];
        if (x === null || y === null) return (x === null) - (y === null);
        return (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y))) * sign;
      });
      heads.forEach((head, index) => {
        if (index === column) head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
        else head.removeAttribute("aria-sort");
      });
    }
    document.getElementById("trials-count").textContent = `${order.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} trials`;
    draw();
  }

  function spacer(height) {
    const row = document.createElement("tr"), cell = document.createElement("td");
    cell.colSpan = columns.length;
    cell.style.cssText = `height:${height}px;padding:0;border:0`;
    row.setAttribute("aria-hidden", "true");
    row.append(cell);
    return row;
  }

  function draw() {
    const first = Math.max(0, Math.floor(frame.scrollTop / ROW) - 5);
    const last = Math.min(order.length, first + Math.ceil(frame.clientHeight / ROW) + 10);
    const shown = [spacer(first * ROW)];
    for (let place = first; place < last; place++) {
      const row = document.createElement("tr");
      row.setAttribute("aria-rowindex", place + 2);
      for (const value of rows[order[place]]) {
        const cell = document.createElement("td");
        cell.textContent = value === null ? "" : typeof value === "number" ? Number(value.toPrecision(5)).toLocaleString("en", { maximumFractionDigits: 6 }) : value;
        row.append(cell);
      }
      shown.push(row);
    }
    shown.push(spacer((order.length - last) * ROW));
    body.replaceChildren(...shown);
  }

  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      sorted = head.getAttribute("aria-sort") === "ascending" ? `-${column}` : `${column}`;
      state.set("sort-trials", sorted);
      keep();
      arrange();
    });
  });
  filter.addEventListener("input", () => {
    if (filter.value) state.set("find", filter.value);
    else state.delete("find");
    keep();
    frame.scrollTop = 0;
    arrange();
  });
  let asked = 0;
  frame.addEventListener("scroll", () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(draw);
  });
  arrange();
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
restoreFilter();
showTrials();
applyFilter();
