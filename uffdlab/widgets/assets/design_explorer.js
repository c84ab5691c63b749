// SPDX-License-Identifier: MIT
// Designs side by side, computed here in the page: every move of a control runs the simulator again.

const MIB = 2 ** 20;
const SLOTS = 4;
const TIE = 1e-3;
const GRID = 15;

// --- what can be moved

const PARAMETERS = {
  span: { label: "Size of the range", min: 21, max: 44, step: 0.25, to: (v) => Math.log2(v), from: (x) => Math.round(2 ** x / (2 * MIB)) * 2 * MIB, show: formatSize, axis: "size of the range" },
  populated: { label: "Populated beforehand", min: 0, max: 1, step: 0.005, to: (v) => v, from: (x) => x, show: formatPercent, axis: "populated" },
  cluster: { label: "Written in a row", min: 0, max: 18, step: 1, to: (v) => Math.log2(v), from: (x) => 2 ** x, show: (v) => formatSize(4096 * v), axis: "written in a row" },
  reads: { label: "Reads afterwards", min: 0, max: 30, step: 0.25, to: (v) => Math.log2(v + 1), from: (x) => Math.round(2 ** x) - 1, show: formatCount, axis: "reads afterwards" },
  writes: { label: "Writes afterwards", min: 0, max: 30, step: 0.25, to: (v) => Math.log2(v + 1), from: (x) => Math.round(2 ** x) - 1, show: formatCount, axis: "writes afterwards" },
};
const unitOf = (name) => ({ span: "B", populated: "share populated", cluster: "pages in a row", reads: "reads", writes: "writes" })[name];
const OBJECTIVES = {
  "stop time": "stop time", "total work": "total work", memory: "memory of tables and pages", "tail latency": "slowest 1 % of later writes", mix: "a weighted mix",
};
const MIXED = ["stop time", "total work", "memory", "tail latency"];

// --- who wins

// In which order designs were chosen changes nothing: of those that are equal the first by name comes first.
const byName = (a, b) => (a.name < b.name ? -1 : Number(a.name > b.name));
const best = (judged, of) => judged.filter((one) => of(one) !== null && of(one) !== undefined).sort((a, b) => of(a) - of(b) || byName(a.design, b.design));
const verdictOf = (pricing, costs, judged, state) => {
  const stop = best(judged, (one) => one.stop.value);
  const work = best(judged, (one) => one.work.value);
  if (judged.length < 2) return "Choose a second design to compare with.";
  // Of those that stop equally fast the one with less work is the quickest.
  const [first] = equalOf(stop, (one) => one.stop.value).sort((a, b) => a.work.value - b.work.value || byName(a.design, b.design));
  return [...losses(pricing.sim, judged), told(pricing, costs, stop, (one) => one.stop.value, "protect", "Stop time"),
    told(pricing, costs, work, (one) => one.work.value, "total", "All work"), breakEven(pricing, costs, first.design, judged, state)].join(" ");
};
const together = (ties) => ties.map((one) => one.design.title).sort().join(" and ");
const equalOf = (ordered, of) => ordered.filter((one) => of(one) <= of(ordered[0]) * (1 + TIE));
// Who has least, and by how much less than the first that has not as little.
const told = (pricing, costs, ordered, of, phase, what) => {
  const equal = equalOf(ordered, of);
  const names = together(equal);
  const next = ordered[equal.length];
  if (!next) return `${what}: the same with ${names}.`;
  const ratio = pricing.ratio(costs, next[phase], equal[0][phase]);
  if (ratio.value === null) return `${what}: nothing with ${names}; ${said(next[phase === "total" ? "work" : "stop"])} with ${next.design.title}.`;
  const band = ratio.low === null ? "" : ` (${formatRatio(ratio.low)} to ${formatRatio(ratio.high)})`;
  const open = ratio.low !== null && ratio.low > 1 ? "" : ", though nothing is decided";
  return `${what}: ${equal.length > 1 ? "the same" : "least"} with ${names}${open}; ${formatRatio(ratio.value)} times as long with ${next.design.title}${band}.`;
};

// For how many later writes all work is more with the quickest to stop than with another: the first such stretch, found by
// looking at 61 numbers of writes and halving where it begins and ends.
const breakEven = (pricing, costs, quickest, judged, state) => {
  const work = (design, powers) => pricing.sim.sweep(design.at, state.span / 4096, state, powers.map((x) => 2 ** x), costs.at);
  const powers = Array.from({ length: 61 }, (_, i) => i / 2);
  const least = work(quickest, powers);
  const behindFrom = ({ design }) => {
    const others = work(design, powers);
    const seen = powers.map((_, i) => least[i] > others[i] * (1 + TIE));
    const edge = (from, now) => {
      let [low, high] = [from, from + 0.5];
      for (let i = 0; i < 16; i += 1) {
        const middle = (low + high) / 2;
        const behind = work(quickest, [middle])[0] > work(design, [middle])[0] * (1 + TIE);
        if (behind === now) high = middle; else low = middle;
      }
      return high;
    };
    const first = seen.indexOf(true);
    if (first < 0) return null;
    const after = seen.indexOf(false, first);
    const within = powers.filter((_, i) => i >= first && (after < 0 || i < after));
    const most = within.reduce((best, x) => (least[2 * x] / others[2 * x] > least[2 * best] / others[2 * best] ? x : best));
    return { design, most, from: first ? edge((first - 1) / 2, true) : 0, to: after < 0 ? null : edge((after - 1) / 2, false) };
  };
  const found = judged.filter((one) => one.design !== quickest).map(behindFrom).filter(Boolean).sort((a, b) => a.from - b.from || byName(a.design, b.design))[0];
  if (!found) return `However much is written afterwards, all work is never more with ${quickest.title}.`;
  const [from, to] = [found.from, found.to].map((x) => (x === null ? null : formatCount(2 ** x)));
  // Where it is more by most, is it so with the whole interval?
  const total = (design) => {
    const out = pricing.sim.expect(design.at, state.span / 4096, { ...state, writes: Math.round(2 ** found.most) });
    return out.protect.map((count, i) => count + out.touches[i]);
  };
  const decided = (pricing.ratio(costs, total(quickest), total(found.design)).low ?? 0) > 1;
  const more = `all work is more with ${quickest.title} than with ${found.design.title}${decided ? "" : ", though nothing is decided"}`;
  if (!found.from) return to ? `For up to ${to} later writes, ${more}.` : `However much is written afterwards, ${more}.`;
  return to ? `Break-even: from ${from} to ${to} later writes, ${more}.` : `Break-even: from ${from} later writes on, ${more}.`;
};

// What decides nothing about time and everything about use: writes that nobody is told of.
const losses = (sim, judged) => {
  const at = sim.events.indexOf("lost_writes");
  return judged.filter((one) => one.total[at] >= 0.5).map((one) => `With ${one.design.title} ${formatCount(one.total[at])} writes are lost: nobody is told of them.`);
};

// --- the map

// As DesignExplorer.decision() in Python has them.
const steps = (parameter, state) => {
  const { min, max, from } = PARAMETERS[parameter];
  const whole = parameter === "cluster";
  const most = whole ? Math.min(max, Math.floor(Math.log2(state.span / 4096))) : max;
  const count = whole ? Math.min(GRID, most + 1) : GRID;
  const at = Array.from({ length: count }, (_, i) => min + ((most - min) * i) / (count - 1));
  return at.map((one) => from(whole ? Math.round(one) : one));
};

const scoreOf = (one, objective, weights, least) => {
  const value = { "stop time": one.stop.value, "total work": one.work.value, memory: Math.max(one.added, 1), "tail latency": one.tail ? one.tail.cost.value : 1 };
  if (objective !== "mix") return value[objective];
  return MIXED.reduce((sum, name) => sum + weights[name] * Math.log(value[name] / least[name]), 0);
};

// One cell: the cheapest, or those that are a tie, the next, and whether the whole interval of their ratio lies above 1.
const cellOf = (pricing, costs, designs, state, where) => {
  const work = { ...state, ...where };
  if (work.cluster * 4096 > work.span || designs.some((design) => pricing.sim.workProblem(design.at, work.span / 4096, work))) return null;
  const found = [...designs].sort(byName).map((design) => {
    const out = pricing.sim.expect(design.at, work.span / 4096, work);
    const total = out.protect.map((count, i) => count + out.touches[i]);
    const price = (ledger) => ({ value: pricing.sim.price(ledger, costs.at) });
    return {
      design, ...out, total, stop: price(out.protect), work: price(total),
      tail: state.objective === "tail latency" || state.objective === "mix" ? tail(latencies(pricing, costs, design, out.counts)) : null,
      added: added(out.memory),
    };
  });
  const least = Object.fromEntries(MIXED.map((name) => [name, Math.min(...found.map((one) => scoreOf(one, name)))]));
  if (state.objective === "mix" && !MIXED.every((name) => least[name] > 0)) return null; // a ratio to nothing has no value
  const score = (one) => scoreOf(one, state.objective, state.weights, least);
  const lowest = Math.min(...found.map(score));
  const tied = state.objective === "mix" ? (one) => score(one) <= lowest + Math.log1p(TIE) : (one) => score(one) <= lowest * (1 + TIE);
  const ties = found.filter(tied);
  const others = found.filter((one) => !ties.includes(one)).sort((a, b) => score(a) - score(b));
  const [first, second] = [ties[0], others[0] || ties[1]];
  let clear = others.length > 0;
  if (clear && state.objective !== "memory") {
    const phase = { "stop time": "protect", "total work": "total" }[state.objective];
    if (phase) clear = (pricing.ratio(costs, second[phase], first[phase]).low ?? 0) > 1;
    else if (state.objective === "tail latency") clear = Boolean(first.tail && second.tail) && (pricing.ratio(costs, ...[second, first].map((one) => pricing.sim.shapeLedger(one.design.at, one.tail.code))).low ?? 0) > 1;
    else clear = false; // a mix of scores has no interval of its own
  }
  const ratio = state.objective === "mix" ? Math.exp(score(second) - lowest) : lowest > 0 ? score(second) / lowest : null;
  return { first, second, ties, tie: ties.length > 1, clear, ratio };
};

// The next one, against the cheapest. What one has none of is no ratio.
const against = ({ first, second, ties, clear, ratio }, objective) => {
  const { title } = second.design;
  if (ties.includes(second)) return "no other is compared";
  if (objective === "memory" && first.added <= 0) return `nothing is added, and ${formatSize(second.added * 1024)} with ${title}`;
  if (objective === "tail latency" && !first.tail) return `no later write asks the kernel, and with ${title} the slowest 1 % take ${formatNs(second.tail.cost.value)}`;
  if (ratio === null) return `nothing here, and more with ${title}`;
  return `${formatRatio(ratio)} times as much with ${title}${clear ? "" : ", and nothing is decided"}`;
};

// What several designs share: no design has this sign, and none is dotted or crossed.
const TIE_LOOK = { title: "a tie", glyph: "=", colour: "#777777" };

const mapFigure = (pricing, costs, designs, state, width) => {
  const [xs, ys] = [steps(state.x, state), steps(state.y, state)];
  const [px, py] = [PARAMETERS[state.x], PARAMETERS[state.y]];
  const cells = ys.flatMap((y, j) => xs.map((x, i) => {
    const cell = cellOf(pricing, costs, designs, state, { [state.x]: x, [state.y]: y });
    return cell && { ...cell, x, y, i, j };
  })).filter(Boolean);
  const looks = [...designs.map((look) => ({ look, own: cells.filter((cell) => !cell.tie && cell.first.design.name === look.name) })),
    { look: TIE_LOOK, own: cells.filter((cell) => cell.tie) }];
  const data = looks.filter(({ own }) => own.length).map(({ look, own }) => {
    const [decided, open] = look === TIE_LOOK ? [".", "x"] : ["", "/"];
    return {
      type: "bar", name: `${look.glyph} ${look.title}`, x: own.map((cell) => cell.i), y: own.map(() => 1), base: own.map((cell) => cell.j - 0.5), width: own.map(() => 1), offset: own.map(() => -0.5),
      marker: { color: look.colour, line: { width: 0 }, pattern: { shape: own.map((cell) => (cell.clear ? decided : open)), fillmode: "overlay", fgcolor: "#ffffff", size: 7 } },
      customdata: own.map((cell) => [state.x, cell.x, state.y, cell.y]),
      text: own.map(() => look.glyph), textposition: "inside", insidetextanchor: "middle", textangle: 0, textfont: { size: 12, color: "#ffffff" },
      hovertext: own.map((cell) => `<b>${together(cell.ties)}</b> ${cell.tie ? "are equally cheap" : "is cheapest"}<br>`
        + `${against(cell, state.objective)}<br>${px.axis}: ${px.show(cell.x)}, ${py.axis}: ${py.show(cell.y)}`),
      hovertemplate: "%{hovertext}<extra></extra>", cliponaxis: true,
    };
  });
  const place = (parameter, values, value) => {
    const { to } = PARAMETERS[parameter];
    return ((to(value) - to(values[0])) / (to(values[values.length - 1]) - to(values[0]))) * (values.length - 1);
  };
  data.push({
    type: "scatter", mode: "markers", name: "where the controls stand", x: [place(state.x, xs, state[state.x])], y: [place(state.y, ys, state[state.y])],
    marker: { symbol: "cross", size: 15, color: "#ffffff", line: { width: 2.5, color: "#000000" } }, hoverinfo: "skip", cliponaxis: false,
  });
  const axis = (values, parameter, room) => {
    const every = Math.max(1, Math.ceil(values.length / room));
    const shown = values.map((value, i) => [i, parameter.show(value)]).filter(([i]) => i % every === 0);
    return { title: { text: parameter.axis, font: { size: 13 } }, tickvals: shown.map(([i]) => i), ticktext: shown.map(([, text]) => text), range: [-0.5, values.length - 0.5], zeroline: false, showgrid: false, ticks: "", automargin: true };
  };
  const saved = looks.filter(({ look, own }) => look !== TIE_LOOK || own.length).map(({ look, own }) => ({
    name: look.title, x: own.map((cell) => cell.x), y: own.map((cell) => cell.y),
    text: own.map((cell) => (cell.tie ? `${together(cell.ties)}; ` : "") + against(cell, state.objective)),
  }));
  saved.push({ name: "where the controls stand", x: [state[state.x]], y: [state[state.y]] });
  return {
    data,
    saved,
    layout: {
      height: 520, margin: { l: 10, r: 16, t: 70, b: 48 }, barmode: "overlay", bargap: 0, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { size: 13 }, dragmode: false,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, hoverlabel: { align: "left" },
      xaxis: axis(xs, px, width < 640 ? 4 : 8), yaxis: axis(ys, py, 8),
    },
  };
};
const mapCaption = (state) => `Colour and sign: the cheapest design by ${OBJECTIVES[state.objective]}. Hatched: ${state.objective === "mix"
  ? "always, since a mix has no interval of its own" : "the interval of its ratio to the next reaches 1, so that nothing is decided"}. Grey, dotted and with =: a tie, several are within 0.1 % of one another (crossed, where others would be hatched). A click takes a point to the comparison.`;
// The cell where the controls stand, in words: what a pointer held over it would say.
const hereSaid = (cell, objective) => {
  if (!cell) return "Where the controls stand nothing can be compared.";
  const least = cell.tie ? `a tie, ${together(cell.ties)} are equally cheap` : `cheapest with ${cell.first.design.title}`;
  return `Where the controls stand: ${least}; ${against(cell, objective)}.`;
};

// --- the widget

const render = async ({ model, el }) => {
  begin(el);
  const sim = await simulator(model);
  const pricing = new Pricing(sim, model);
  const cache = new Map();
  const state = () => model.get("state");
  const costs = () => pricing.costs.find((one) => one.name === state().costs);
  const sentence = make("p", { class: "ul-verdict", role: "status", "aria-live": "polite" });
  const table = make("table", { class: "ul-numbers" });
  const bars = make("div", { class: "ul-bars" });
  const legend = make("ul", { class: "ul-legend", "aria-label": "Events that all work consists of" });
  const priced = make("div", {}, make("p", {}, "What all work consists of, by the time it takes:"), bars, legend);
  const wrong = make("p", { class: "failed", role: "alert", hidden: true });
  const lost = sim.events.indexOf("lost_writes");
  const numbers = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers" }, table);
  const hereText = make("span", { role: "status", "aria-live": "polite" });
  const here = make("p", { class: "ul-verdict" }, hereText, " ", make("button", { type: "button", onclick: () => change(model, { tab: "compare" }) }, "Compare here"));
  // Events that no data has a cost for, and that are counted: what the price leaves out.
  const unpriced = (counted) => {
    const names = sim.events.filter((name, i) => costs().unpriced.includes(name) && counted.some((one) => one.total[i] > 0));
    return names.length ? ` | counted without a cost, for want of data: ${names.map((name) => name.replaceAll("_", " ")).join(", ")}` : "";
  };
  // What a composed design is composed of, where its switches are not seen: on paper.
  const origin = (wanted) => costs().words + unpriced(wanted.map((design) => judge(pricing, costs(), design, state())))
    + (wanted.some(({ name }) => name === "composed") ? ` | composed: ${Object.entries(state().composed).map((pair) => pair.join(" ").replaceAll("_", " ")).join(", ")}` : "");
  const designs = () => chosen(sim, model, cache, state());

  const contradiction = (now) => {
    const own = now.designs.includes("composed") && chosen(sim, model, cache, now).find(({ name }) => name === "composed");
    const problem = own && sim.problem(own.at);
    return problem ? `design 'composed': ${problem}` : null;
  };
  const check = (wanted, least = 1) => {
    const bad = wanted.map((design) => sim.problem(design.at)).find(Boolean);
    const cut = state().cluster * 4096 > state().span ? `rows of ${formatSize(state().cluster * 4096)} do not fit a range of ${formatSize(state().span)}: choose a larger range` : null;
    const few = wanted.length >= least ? null : least > 1 ? "a map is of two designs or more: choose a second one" : "no design is chosen: choose one";
    const work = bad || cut || few ? null : wanted.map((design) => sim.workProblem(design.at, state().span / 4096, state())).find(Boolean);
    const problem = few || (bad ? `the composed design contradicts itself: ${bad}` : cut || work);
    wrong.hidden = !problem;
    wrong.textContent = problem || "";
    return problem;
  };
  const row = (cells, kind = "td") => make("tr", {}, ...cells.map((text, i) => make(i ? kind : "th", { scope: i ? (kind === "th" ? "col" : false) : (kind === "th" ? "col" : "row") }, text)));
  const fill = (judged) => {
    table.replaceChildren(make("caption", {}, "Predicted, with the interval of each"),
      make("thead", {}, row(["design", "stop time", "all work", "page tables", "memory added", "slowest 1 % of writes", "writes lost"], "th")),
      make("tbody", {}, ...judged.map((one) => row([one.design.title, said(one.stop), said(one.work), formatSize(one.tables * 1024), formatSize(one.added * 1024), one.tail ? said(one.tail.cost) : "none asks the kernel", formatCount(one.total[lost])]))));
  };
  const compare = new Drawing(model, (width) => {
    const wanted = designs();
    const problem = check(wanted);
    sentence.hidden = numbers.hidden = priced.hidden = Boolean(problem);
    if (problem) return null;
    const start = performance.now();
    const judged = wanted.map((design) => judge(pricing, costs(), design, state()));
    performance.measure("uffdlab-computed", { start });
    const figure = compareFigure(sim, costs(), judged, state(), width);
    figure.after = () => {
      sentence.textContent = verdictOf(pricing, costs(), judged, state());
      fill(judged);
      bars.replaceChildren(...workBars(figure.parts, judged));
      legend.replaceChildren(...workLegend(figure.parts));
    };
    Object.assign(figure.layout.meta, { caption: model.get("caption"), origin: origin(wanted) });
    return figure;
  }, "designs");
  const map = new Drawing(model, (width) => {
    const wanted = designs();
    const problem = check(wanted, 2);
    here.hidden = Boolean(problem);
    if (problem) return null;
    const figure = mapFigure(pricing, costs(), wanted, state(), width);
    figure.after = () => { hereText.textContent = hereSaid(cellOf(pricing, costs(), wanted, state(), {}), state().objective); };
    figure.layout.meta = { caption: mapCaption(state()), origin: origin(wanted), units: { x: unitOf(state().x), y: unitOf(state().y) } };
    return figure;
  }, "decision-map");

  compare.place.after(priced);
  const controls = [];
  const sync = () => controls.forEach((set) => set(state()));
  const parameter = (name) => {
    const { label, min, max, step, to, from, show } = PARAMETERS[name];
    const made = slider({ label, min, max, step, value: to(state()[name]), show: (x) => show(from(x)), act: (x) => change(model, { [name]: from(x) }) });
    controls.push((now) => {
      made.set(to(now[name]));
      // Where nothing is populated, or everything, no row is longer than another.
      const everywhere = now.tab === "map" && [now.x, now.y].includes("populated");
      if (name === "cluster") made.input.disabled = !everywhere && (now.populated === 0 || now.populated === 1);
    });
    return made.element;
  };
  const select = (label, values, read, write) => {
    const made = choice({ label, values, value: read(state()), act: (value) => change(model, write(value)) });
    controls.push((now) => made.set(read(now)));
    return made.element;
  };
  const known = [...model.get("designs").map((one) => [one.name, one.title]), ["composed", "composed (below)"]];
  const slot = (i) => select(`Design ${i + 1}`, i < 2 ? known : [["", "none"], ...known], (now) => now.designs[i],
    (value) => ({ designs: state().designs.map((one, j) => (j === i ? value : one)) }));
  const field = ({ name, label, values }) => select(label, values.map((one) => [one, one]), (now) => now.composed[name],
    (value) => ({ composed: { ...state().composed, [name]: value }, ...(state().designs.includes("composed") ? {} : { designs: [...state().designs.slice(0, SLOTS - 1), "composed"] }) }));
  const weight = (name) => {
    const made = slider({ label: `Weight of ${OBJECTIVES[name]}`, min: 0, max: 1, step: 0.05, value: state().weights[name], show: (x) => digits(x, 2), act: (x) => change(model, { weights: { ...state().weights, [name]: x } }) });
    controls.push((now) => made.set(now.weights[name]));
    return made.element;
  };
  const axes = Object.entries(PARAMETERS).map(([name, { label }]) => [name, label]);
  const axis = (label, own, other) => select(label, axes, (now) => now[own], (value) => (value === state()[other] ? { [own]: value, [other]: state()[own] } : { [own]: value }));
  const mixed = make("div", { class: "ul-controls" }, ...MIXED.map(weight));
  const mapControls = make("div", { class: "ul-choices" }, axis("Across", "x", "y"), axis("Upwards", "y", "x"),
    select("Cheapest by", Object.entries(OBJECTIVES), (now) => now.objective, (objective) => ({ objective })));

  // --- two tabs
  const tabs = ["compare", "map"].map((name) => make("button", {
    type: "button", role: "tab", id: newId(), onclick: () => change(model, { tab: name }),
    onkeydown: (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const other = name === "compare" ? "map" : "compare";
      change(model, { tab: other });
      tabs[other === "map" ? 1 : 0].focus();
    },
  }, { compare: "Compare", map: "Decision map" }[name]));
  const panels = [make("div", { role: "tabpanel", "aria-labelledby": tabs[0].id }, sentence, compare.element, numbers),
    make("div", { role: "tabpanel", "aria-labelledby": tabs[1].id }, mapControls, mixed, here, map.element)];
  tabs.forEach((tab, i) => { panels[i].id = newId(); tab.setAttribute("aria-controls", panels[i].id); });
  const showTab = () => ["compare", "map"].forEach((name, i) => {
    const on = state().tab === name;
    tabs[i].setAttribute("aria-selected", String(on));
    tabs[i].tabIndex = on ? 0 : -1;
    panels[i].hidden = !on;
    mixed.hidden = state().objective !== "mix";
  });
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
    requestAnimationFrame(() => { drawn = false; if (more) soon(); });
    await redraw();
    performance.mark("uffdlab-moved");
  };
  model.on("change:state", () => { soon(); sync(); });

  el.append(
    make("div", { class: "ul-choices" }, ...[0, 1, 2, 3].map(slot), select("Costs", pricing.costs.map((one) => [one.name, one.title]), (now) => now.costs, (value) => ({ costs: value }))),
    make("details", { class: "ul-compose" }, make("summary", {}, "Compose a design"), make("div", { class: "ul-choices" }, ...model.get("fields").filter((one) => one.label).map(field))),
    make("div", { class: "ul-controls" }, ...Object.keys(PARAMETERS).map(parameter)),
    make("div", { role: "tablist", "aria-label": "Views" }, ...tabs), wrong, ...panels, sharing(model, "designs", { besides: contradiction }),
  );
  sync();
  showTab();
  await Promise.all([compare.start(), map.start()]);
  follow();
};

export default { render };
