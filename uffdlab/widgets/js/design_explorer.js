// SPDX-License-Identifier: MIT
// Designs side by side, computed here in the page: every move of a control runs the simulator again.

import {
  begin,
  button,
  change,
  choice,
  Drawing,
  digits,
  formatCount,
  formatSize,
  heldNumbers,
  make,
  newId,
  shown,
  slider,
  tableOf,
} from "./base.js";
import { simulator } from "./core.js";
import { compareFigure, workBars, workLegend } from "./design_figures.js";
import { cellOf, mapCaption, mapFigure, placeOf, valueAt } from "./design_map.js";
import { hereSentence, judge, verdictOf, withInterval } from "./design_words.js";
import { sharing } from "./views.js";

const SLOTS = 4;

// The designs of a state with their places in the simulator's memory, each laid there once.
class Chosen {
  constructor(sim, model) {
    this.sim = sim;
    this.model = model;
    this.named = new Map(model.get("designs").map((design) => [design.name, design]));
    this.laid = new Map();
  }

  at(packed) {
    const key = packed.join(";");
    if (!this.laid.has(key)) this.laid.set(key, this.sim.designs(packed));
    return this.laid.get(key);
  }

  of(state) {
    return [...new Set(state.designs.filter(Boolean))].map((name) => {
      const record = this.named.get(name);
      const fields = this.model.get("fields");
      const packed = record.packed ?? fields.map((field) => field.values.indexOf(state.composed[field.name]));
      return { ...record, packed, at: this.at([packed]) };
    });
  }

  // In which order designs were chosen changes nothing: of those that are equal the first by name comes first.
  ordered(state) {
    const designs = this.of(state).sort((a, b) => (a.name < b.name ? -1 : 1));
    return { designs, at: this.at(designs.map((design) => design.packed)) };
  }
}

const render = async ({ model, el }) => {
  begin(el);
  const sim = await simulator(model);
  const draws = heldNumbers(model.get("draws"));
  const priced = new Map(
    model.get("costs").map((vector) => {
      const drawn = vector.drawn_from ? draws : [];
      const given = sim.costs(vector.vector, drawn, vector.p95_error, vector.ratio_p95_error);
      return [vector.name, { ...vector, given }];
    }),
  );
  const [parameters, objectives] = [model.get("parameters"), model.get("objectives")];
  const titleOf = Object.fromEntries(objectives);
  const mixed = objectives.slice(0, -1).map(([name]) => name);
  const chosen = new Chosen(sim, model);
  const state = () => model.get("state");
  const costs = () => priced.get(state().costs);
  const cell = (where) => cellOf(sim, costs(), chosen.ordered(state()), objectives, state(), where);
  const sentence = make("p", { class: "ul-verdict", role: "status", "aria-live": "polite" });
  const table = make("table", { class: "ul-numbers" });
  const bars = make("div", { class: "ul-bars" });
  const legend = make("ul", { class: "ul-legend", "aria-label": "Events that all work consists of" });
  const parts = make("div", {}, make("p", {}, "What all work consists of, by the time it takes:"), bars, legend);
  const wrong = make("p", { class: "failed", role: "alert", hidden: true });
  const numbers = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers" }, table);
  const hereText = make("span", { role: "status", "aria-live": "polite" });
  const toHere = button("Compare here", () => change(model, { tab: "compare" }));
  const here = make("p", { class: "ul-verdict" }, hereText, " ", toHere);
  const plain = (name) => name.replaceAll("_", " ");

  // Where the costs are from; events that no data has a cost for, and that are counted: what the price leaves out; and
  // what a composed design is composed of, where its switches are not seen: on paper.
  const origin = (judged) => {
    const counted = (i) => judged.some((result) => result.total[i] > 0);
    const names = sim.events.filter((name, i) => costs().unpriced.includes(name) && counted(i));
    const composed = judged.some(({ design }) => design.name === "composed");
    const switches = Object.entries(state().composed).map((pair) => plain(pair.join(" ")));
    return (
      costs().words +
      (names.length ? ` | counted without a cost, for want of data: ${names.map(plain).join(", ")}` : "") +
      (composed ? ` | composed: ${switches.join(", ")}` : "")
    );
  };
  const contradiction = (now) => {
    const own = chosen.of(now).find(({ name }) => name === "composed");
    const problem = own && sim.problem(own.at);
    return problem ? `design 'composed': ${problem}` : null;
  };
  const problemOf = (designs, least) => {
    if (designs.length < least) {
      return least > 1 ? "a map is of two designs or more: choose a second one" : "no design is chosen: choose one";
    }
    const bad = designs.map((design) => sim.problem(design.at)).find(Boolean);
    if (bad) return `the composed design contradicts itself: ${bad}`;
    return designs.map((design) => sim.workProblem(design.at, state())).find(Boolean) ?? null;
  };
  const check = (designs, least) => {
    const problem = problemOf(designs, least);
    wrong.hidden = !problem;
    wrong.textContent = problem ?? "";
    return problem;
  };
  const fill = (judged) => {
    const lost = sim.events.indexOf("lost_writes");
    const columns = ["design", "stop time", "all work", "page tables", "memory added"];
    const heads = [...columns, "slowest 1 % of writes", "writes lost"];
    const rows = judged.map((result) => [
      result.design.title,
      withInterval(result.stop),
      withInterval(result.work),
      formatSize(result.tables * 1024),
      formatSize(result.added * 1024),
      result.tail ? withInterval(result.tail.cost) : "no later write faults",
      formatCount(result.total[lost]),
    ]);
    table.replaceChildren(...tableOf("Predicted, with the interval of each", heads, rows));
  };
  const judgeAll = () => chosen.of(state()).map((design) => judge(sim, costs(), design, state()));
  const compare = new Drawing(
    model,
    (width) => {
      const problem = check(chosen.of(state()), 1);
      sentence.hidden = numbers.hidden = parts.hidden = Boolean(problem);
      if (problem) return null;
      const start = performance.now();
      const judged = judgeAll();
      performance.measure("uffdlab-computed", { start });
      const sent = { words: model.get("found"), colours: model.get("parts") };
      const figure = compareFigure(sim, costs(), judged, sent, width);
      const [now, given, ordered] = [state(), costs(), chosen.ordered(state())]; // until then they may have changed
      figure.after = () => {
        sentence.textContent = verdictOf(sim, given, ordered, judged, now);
        fill(judged);
        bars.replaceChildren(...workBars(figure.parts, judged));
        legend.replaceChildren(...workLegend(figure.parts));
      };
      Object.assign(figure.layout.meta, { caption: model.get("caption"), origin: origin(judged) });
      return figure;
    },
    "designs",
  );
  const map = new Drawing(
    model,
    (width) => {
      const problem = check(chosen.of(state()), 2);
      here.hidden = Boolean(problem);
      if (problem) return null;
      const figure = mapFigure(cell, chosen.of(state()), model.get("tie"), parameters, state(), width);
      const { objective } = state();
      const words = hereSentence(cell({}), objective);
      figure.after = () => {
        hereText.textContent = words;
      };
      const caption = mapCaption(objective, titleOf[objective]);
      Object.assign(figure.layout.meta, { caption, origin: origin(judgeAll()) });
      return figure;
    },
    "decision-map",
  );
  compare.place.after(parts);

  // --- controls

  const controls = [];
  const sync = () => controls.forEach((set) => set(state()));
  const parameter = (item) => {
    const { name, label, low, high, step } = item;
    const made = slider({
      label,
      min: low,
      max: high,
      step,
      value: placeOf(item, state()[name]),
      show: (place) => shown(item, valueAt(item, place)),
      act: (place) => change(model, { [name]: valueAt(item, place) }),
    });
    controls.push((now) => {
      made.set(placeOf(item, now[name]));
      // Where nothing is populated, or everything, no row is longer than another.
      const everywhere = now.tab === "map" && [now.x, now.y].includes("populated");
      if (name === "cluster") made.input.disabled = !everywhere && (now.populated === 0 || now.populated === 1);
    });
    return made.element;
  };
  const weight = (name) => {
    const made = slider({
      label: `Weight of ${titleOf[name]}`,
      min: 0,
      max: 1,
      step: 0.05,
      value: state().weights[name],
      show: (x) => digits(x, 2),
      act: (x) => change(model, { weights: { ...state().weights, [name]: x } }),
    });
    controls.push((now) => made.set(now.weights[name]));
    return made.element;
  };
  // `path` leads to a value in the state.
  const select = (label, values, path, write = (value) => ({ [path[0]]: value })) => {
    const read = (now) => path.reduce((at, key) => at[key], now);
    const made = choice({ label, values, value: read(state()), act: (value) => change(model, write(value)) });
    controls.push((now) => made.set(read(now)));
    return made.element;
  };
  const known = model.get("designs").map(({ name, title, packed }) => [name, packed ? title : `${title} (below)`]);
  const put = (name, slot) => ({ designs: state().designs.map((chosenName, i) => (i === slot ? name : chosenName)) });
  const slot = (i) =>
    select(`Design ${i + 1}`, i < 2 ? known : [["", "none"], ...known], ["designs", i], (name) => put(name, i));
  const field = ({ name, label, values }) =>
    select(
      label,
      values.map((value) => [value, value]),
      ["composed", name],
      (value) => {
        const shownAlready = state().designs.includes("composed");
        const composed = { ...state().composed, [name]: value };
        return { composed, ...(shownAlready ? {} : put("composed", SLOTS - 1)) };
      },
    );
  const axes = parameters.map(({ name, label }) => [name, label]);
  const axis = (label, own, other) =>
    select(label, axes, [own], (value) => ({
      [own]: value,
      ...(value === state()[other] ? { [other]: state()[own] } : {}),
    }));
  const mix = make("div", { class: "ul-controls" }, ...mixed.map(weight));
  const mapControls = make(
    "div",
    { class: "ul-choices" },
    axis("Across", "x", "y"),
    axis("Upwards", "y", "x"),
    select("Cheapest by", objectives, ["objective"]),
  );
  const vectors = [...priced.values()].map((vector) => [vector.name, vector.title]);
  const fields = model.get("fields").filter((field) => field.label);

  // --- two tabs

  const names = ["compare", "map"];
  const tabs = ["Compare", "Decision map"].map((title, i) =>
    button(title, () => change(model, { tab: names[i] }), {
      role: "tab",
      id: newId(),
      onkeydown: (event) => {
        if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
        change(model, { tab: names[1 - i] });
        tabs[1 - i].focus();
      },
    }),
  );
  const panels = [
    [sentence, compare.element, numbers],
    [mapControls, mix, here, map.element],
  ].map((inner, i) => make("div", { role: "tabpanel", id: newId(), "aria-labelledby": tabs[i].id }, ...inner));
  tabs.forEach((tab, i) => {
    tab.setAttribute("aria-controls", panels[i].id);
  });
  const showTab = () => {
    names.forEach((name, i) => {
      const on = state().tab === name;
      tabs[i].setAttribute("aria-selected", String(on));
      tabs[i].tabIndex = on ? 0 : -1;
      panels[i].hidden = !on;
    });
    mix.hidden = state().objective !== "mix";
  };
  // Plotly gives a place its events with the first drawing.
  const follow = () => {
    if (!map.place.on || map.followed) return;
    map.followed = true;
    map.place.on("plotly_click", (event) => {
      const [x, across, y, upwards] = event.points[0].customdata || [];
      if (x) change(model, { [x]: across, [y]: upwards, tab: "compare" });
    });
  };
  const redraw = async () => {
    showTab();
    await (state().tab === "map" ? map : compare).draw();
    follow();
  };
  // At once, but once in a frame: a browser hands out moves of a pointer frame by frame already.
  let [drawn, more] = [false, false];
  const soon = async () => {
    more = drawn;
    if (drawn) return;
    drawn = true;
    requestAnimationFrame(() => {
      drawn = false;
      if (more) soon();
    });
    await redraw();
    performance.mark("uffdlab-moved");
  };
  model.on("change:state", () => {
    soon();
    sync();
  });

  el.append(
    make("div", { class: "ul-choices" }, ...[0, 1, 2, 3].map(slot), select("Costs", vectors, ["costs"])),
    make(
      "details",
      { class: "ul-compose" },
      make("summary", {}, "Compose a design"),
      make("div", { class: "ul-choices" }, ...fields.map(field)),
    ),
    make("div", { class: "ul-controls" }, ...parameters.map(parameter)),
    make("div", { role: "tablist", "aria-label": "Views" }, ...tabs),
    wrong,
    ...panels,
    sharing(model, { besides: contradiction }),
  );
  sync();
  showTab();
  await Promise.all([compare.start(), map.start()]);
  follow();
};

export default { render };
