// SPDX-License-Identifier: MIT
// One GiB of page tables, entry by entry, after steps of protecting, reading, writing and discarding.

import {
  begin,
  button,
  change,
  choice,
  formatCount,
  formatSize,
  grouped,
  make,
  newId,
  saving,
  slider,
  tableOf,
} from "./base.js";
import { simulator } from "./core.js";
import { save } from "./csv.js";
import { sharing } from "./views.js";

const PAGES = 512 * 512;
const PTRS = 512;
const COLUMNS = 32;
const ROOM = 400; // touches and splits to allocate for
const SVG = "http://www.w3.org/2000/svg";

// --- the tables, in the simulator

class Tables {
  constructor(sim, kinds) {
    this.sim = sim;
    this.kinds = kinds;
    this.bytes = sim.c.ul_sim_bytes(0n, BigInt(PAGES), BigInt(ROOM * 4));
    this.at = sim.take(Number(this.bytes));
    this.counts = sim.take(8 * sim.events.length);
    this.memory = sim.take(32);
  }

  ledger() {
    this.sim.c.ul_ledger(this.at, this.counts);
    return Array.from(new BigUint64Array(this.sim.c.memory.buffer, this.counts, this.sim.events.length), Number);
  }

  // As PageTableView.ledger replays it in Python, since a page has none: tests/widgets/test_widgets_pages.py
  // (test_page_tables_are_drawn_as_python_has_them) holds the two together.
  step([name, page]) {
    const { c } = this.sim;
    const [all, block, none] = [BigInt(PAGES), BigInt(Math.floor(page / PTRS) * PTRS), 0n];
    const run = {
      protect: () => c.ul_prefault(this.at, none, all) || c.ul_protect(this.at, none, all),
      unprotect: () => c.ul_unprotect(this.at, none, all),
      read: () => c.ul_touch(this.at, BigInt(page), 0),
      write: () => c.ul_touch(this.at, BigInt(page), 1),
      fill: () => c.ul_touch_range(this.at, block, BigInt(PTRS), 1),
      discard: () => c.ul_discard(this.at, block, BigInt(PTRS)),
    }[name]();
    if (run) throw new Error(`the simulator refused to ${name} page ${page}`);
  }

  // Replay all steps from an empty range. Returns the ledgers of the last step and of all.
  replay(design, steps) {
    new Uint8Array(this.sim.c.memory.buffer, this.at, Number(this.bytes)).fill(0);
    this.sim.c.ul_sim_init(this.at, this.bytes, 0n, BigInt(PAGES), 0);
    this.sim.c.ul_set_design(this.at, design);
    steps.slice(0, -1).forEach((step) => this.step(step));
    const before = this.ledger();
    steps.slice(-1).forEach((step) => this.step(step));
    const all = this.ledger();
    this.sim.c.ul_memory(this.at, this.memory);
    const [tables, , pages] = new BigUint64Array(this.sim.c.memory.buffer, this.memory, 4);
    return { last: all.map((count, i) => count - before[i]), all, tables: Number(tables), pages: Number(pages) };
  }

  // The entry that maps a page: level (0 PTE, 1 PMD, 2 PUD), contents, whether it is protected.
  entry(page) {
    const state = this.sim.c.ul_state(this.at, BigInt(page));
    return { level: state >> 8, kind: this.kinds[state & 3], protected: Boolean(state & 4) };
  }
}

// --- what is drawn

const svg = (tag, attributes, ...children) => {
  const element = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children);
  return element;
};

const patterns = (id) =>
  svg(
    "defs",
    {},
    // As wide as a cell, so that all cells are equal, and a picture of them is small.
    svg(
      "pattern",
      { id: `${id}-marker`, width: 10, height: 10, patternUnits: "userSpaceOnUse" },
      svg("rect", { class: "wash", width: 10, height: 10 }),
      svg("path", { class: "marker-ink", d: "M0 10 L10 0" }),
    ),
    svg(
      "pattern",
      { id: `${id}-zeropage`, width: 10, height: 10, patternUnits: "userSpaceOnUse" },
      svg("rect", { class: "wash", width: 10, height: 10 }),
      svg("circle", { class: "zeropage-ink", cx: 5, cy: 5, r: 2.4 }),
    ),
  );
// Draw a cell by the contents of its entry; `id` is that of the patterns beside it.
const dress = (cell, id, { kind, protected: on }) => {
  cell.setAttribute("class", `${kind}${on ? " protected" : ""}`);
  cell.style.fill = { marker: `url(#${id}-marker)`, zeropage: `url(#${id}-zeropage)` }[kind] || "";
};

class Grid {
  constructor(title, pick) {
    this.id = newId();
    this.cells = Array.from({ length: PTRS }, (_, i) =>
      svg("rect", { x: (i % COLUMNS) * 10 + 0.75, y: Math.floor(i / COLUMNS) * 10 + 0.75, width: 8.5, height: 8.5 }),
    );
    this.cursor = svg("rect", { class: "cursor", width: 10, height: 10 });
    const rows = PTRS / COLUMNS;
    this.drawing = svg(
      "svg",
      { viewBox: `0 0 ${COLUMNS * 10} ${rows * 10}`, role: "img" },
      patterns(this.id),
      ...this.cells,
      this.cursor,
    );
    this.drawing.addEventListener("click", (event) => {
      const box = this.drawing.getBoundingClientRect();
      const [x, y] = [
        Math.floor(((event.clientX - box.left) / box.width) * COLUMNS),
        Math.floor(((event.clientY - box.top) / box.height) * rows),
      ];
      pick(Math.min(PTRS - 1, Math.max(0, y * COLUMNS + x)));
    });
    this.sentence = make("p", { class: "ul-note" });
    this.title = title;
    this.entries = [];
    this.element = make("div", { class: "ul-table" }, make("h4", {}, title), this.drawing, this.sentence);
  }

  show(entries, chosen, words) {
    this.entries = entries;
    entries.forEach((entry, i) => dress(this.cells[i], this.id, entry));
    this.cursor.setAttribute("x", (chosen % COLUMNS) * 10);
    this.cursor.setAttribute("y", Math.floor(chosen / COLUMNS) * 10);
    const counts = new Map();
    entries.forEach(({ kind, protected: on }) => {
      const name = `${kind}|${on && kind !== "marker" ? ", protected" : ""}`;
      counts.set(name, (counts.get(name) || 0) + 1);
    });
    const phrase = ([name, count]) =>
      `${count} ${name.replace("|", count > 1 && !name.startsWith("empty") ? "s" : "")}`;
    const text = words || [...counts].map(phrase).join("; ");
    this.sentence.textContent = text;
    this.drawing.setAttribute("aria-label", `${this.title}: ${text}`);
  }
}

// --- the events of a step as text

// How many of what: words as uffdlab/vocabulary/events.py has them.
const counted = (n, words) =>
  `${formatCount(n)} ${words.replace(/\((?:(\w+)\|)?(\w+)\)/g, (_, one = "", many) => (n > 1 ? many : one))}`;
const inWords = (events, titles, ledger) => {
  const of = Object.fromEntries(events.map((name, i) => [name, ledger[i]]));
  const all = (stem) => events.filter((name) => name.startsWith(stem)).reduce((sum, name) => sum + of[name], 0);
  const parts = titles.filter(([name]) => of[name] > 0).map(([name, words]) => counted(of[name], words));
  if (all("faults_")) parts.unshift(counted(all("faults_"), "fault(s)"));
  if (!parts.length && all("visited_")) parts.push(counted(all("visited_"), "entr(y|ies) visited, none changed"));
  return parts.length ? `${parts.join("; ")}.` : "no event: the entries were present.";
};

// --- the widget

const render = async ({ model, el }) => {
  begin(el);
  Object.entries(model.get("colours")).forEach(([name, colour]) => el.style.setProperty(`--ul-${name}`, colour));
  const sim = await simulator(model);
  const tables = new Tables(sim, model.get("kinds"));
  const packed = Object.fromEntries(model.get("designs").map((design) => [design.name, sim.designs([design.packed])]));
  const titles = Object.fromEntries(model.get("steps"));
  const most = model.get("most_steps");
  const state = () => model.get("state");
  const act = (name) => {
    if (state().steps.length < most) change(model, { steps: [...state().steps, [name, state().page]] });
  };

  const design = choice({
    label: "Design",
    values: model.get("designs").map((design) => [design.name, design.title]),
    value: state().design,
    act: (value) => change(model, { design: value }),
  });
  // The cursor: its 2 MiB range, and the page within it.
  const blockAt = () => Math.floor(state().page / PTRS);
  const pageAt = () => state().page % PTRS;
  const toBlock = (i) => change(model, { page: i * PTRS + pageAt() });
  const toPage = (i) => change(model, { page: blockAt() * PTRS + i });
  const place = (label, value, act) => slider({ label, min: 0, max: PTRS - 1, step: 1, value, show: String, act });
  const block = place("Which 2 MiB", blockAt(), toBlock);
  const page = place("Which page of it", pageAt(), toPage);
  const buttons = Object.entries(titles).map(([name, words]) => button(words, () => act(name)));
  const undo = button("Undo", () => change(model, { steps: state().steps.slice(0, -1) }));
  const reset = button("Begin again", () => change(model, { steps: [] }));

  const pudSentence = make("p", { class: "ul-note" });
  const pudId = newId();
  const pudRect = svg("rect", { x: 0.75, y: 0.75, width: 318.5, height: 14.5 });
  const pudCell = svg("svg", { viewBox: "0 0 320 16", role: "img" }, patterns(pudId), pudRect);
  const pud = make("div", { class: "ul-table ul-pud" }, make("h4", {}, "PUD entry: 1 GiB"), pudCell, pudSentence);
  const pmds = new Grid("PMD table: 512 × 2 MiB", toBlock);
  const ptes = new Grid("PTE table of the chosen 2 MiB: 512 × 4 KiB", toPage);
  const verdict = make("p", { class: "ul-verdict", role: "status", "aria-live": "polite" });
  const counters = make("table", { class: "ul-numbers" });
  const swatch = (kind, words, on) => {
    const id = newId();
    const rect = svg("rect", { x: 0.75, y: 0.75, width: 8.5, height: 8.5 });
    dress(rect, id, { kind, protected: on });
    const picture = svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, patterns(id), rect);
    return make("span", {}, picture, ` ${words}`);
  };
  const legend = make(
    "p",
    { class: "ul-legend" },
    swatch("empty", "empty"),
    swatch("marker", "marker"),
    swatch("zeropage", "zeropage, or huge zeropage"),
    swatch("page", "page, or huge page"),
    swatch("page", "thick edge: protected", true),
    swatch("table", "a table below it"),
    swatch("absent", "no table here"),
  );

  const draw = () => {
    const { steps, page: at } = state();
    const found = tables.replay(packed[state().design], steps);
    const first = blockAt() * PTRS;
    const entries = Array.from({ length: PTRS }, (_, i) => tables.entry(i * PTRS));
    const above = tables.entry(at);
    const whole = entries[0].level === 2;
    const [absent, table] = ["absent", "table"].map((kind) => ({ kind, protected: false }));
    dress(pudRect, pudId, whole ? entries[0] : table);
    const pudText = whole
      ? entries[0].kind === "empty"
        ? "empty: there is no PMD table"
        : `one ${entries[0].kind} for the whole GiB`
      : "points to a PMD table";
    pudSentence.textContent = pudText;
    pudCell.setAttribute("aria-label", `PUD entry: ${pudText}`);
    pmds.show(
      entries.map((entry) => (entry.level === 1 ? entry : entry.level === 0 ? table : absent)),
      blockAt(),
      whole ? "no PMD table: the PUD entry maps the whole GiB" : "",
    );
    const below = above.level === 0;
    const inAbove = above.kind === "empty" ? "empty" : `a ${above.kind}`;
    ptes.show(
      Array.from({ length: PTRS }, (_, i) => (below ? tables.entry(first + i) : absent)),
      pageAt(),
      below ? "" : `no PTE table: the ${above.level === 1 ? "PMD" : "PUD"} entry above is ${inAbove}`,
    );
    const [name, where] = steps[steps.length - 1] || [];
    const taken = name && `${titles[name].toLowerCase()}${["read", "write"].includes(name) ? ` (${where})` : ""}`;
    verdict.textContent = name
      ? `Step ${steps.length}, ${taken}: ${inWords(sim.events, model.get("events"), found.last)}`
      : "No step yet: protect, then write a page.";
    const rows = sim.events
      .map((event, i) => [event, found.last[i], found.all[i]])
      .filter(([event, , all]) => all > 0 && !event.startsWith("lock_"))
      .map(([event, ...counts]) => [event.replaceAll("_", " "), ...counts.map((count) => grouped.format(count))]);
    const caption = `Page tables: ${formatSize(4096 * found.tables)}; pages: ${formatSize(4096 * found.pages)}`;
    counters.replaceChildren(...tableOf(caption, ["counted", "last step", "in all"], rows, { class: "number" }));
    undo.disabled = reset.disabled = !steps.length;
    buttons.forEach((button) => {
      button.disabled = steps.length >= most;
    });
  };
  const sync = () => {
    design.set(state().design);
    block.set(blockAt());
    page.set(pageAt());
  };
  model.on("change:state", () => {
    sync();
    draw();
  });
  const series = (name, { entries }) => ({
    name,
    x: entries.map((_, i) => i),
    y: entries.map((entry) => entry.kind),
    text: entries.map((entry) => (entry.protected ? "protected" : "")),
  });
  const origin = make(
    "figcaption",
    {},
    "Counted by the simulator, entry by entry; no time is predicted. ",
    saving(() => save([series("PMD entry", pmds), series("PTE entry", ptes)], {}, "page-tables")),
  );
  el.append(
    make("div", { class: "ul-choices" }, design.element),
    make("div", { class: "ul-controls" }, block.element, page.element),
    make("div", { class: "ul-buttons", role: "group", "aria-label": "Steps" }, ...buttons, undo, reset),
    verdict,
    make("figure", {}, make("div", { class: "ul-plot ul-tables" }, pud, pmds.element, ptes.element), legend, origin),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Counters" }, counters),
    sharing(model),
  );
  draw();
};

export default { render };
