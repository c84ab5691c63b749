// SPDX-License-Identifier: MIT
// The figure in which designs are compared. Predictions are hollow, with a band.

import { digits, formatCount, formatNs, formatSize, make } from "./base.js";
import { withInterval } from "./design_words.js";

const timeTicks = (times, room) => {
  const [lowest, highest] = [Math.min(...times), Math.max(...times)];
  const [from, to] = [Math.floor(Math.log10(Math.max(lowest, 1e-3))), Math.ceil(Math.log10(Math.max(highest, 1)))];
  const every = Math.max(1, Math.ceil((to - from) / room));
  const steps = to - from <= 2 ? [1, 2, 5] : [1];
  const values = [];
  for (let power = from; power <= to; power += every) steps.forEach((step) => values.push(step * 10 ** power));
  return {
    type: "log",
    tickvals: values,
    ticktext: values.map(formatNs),
    range: [Math.log10(lowest) - 0.3, Math.log10(highest) + 0.3],
  };
};
const sizeTicks = (topKib) => {
  if (!(topKib > 0)) return { range: [0, 1], tickvals: [0], ticktext: ["0 B"] };
  const power = 2 ** Math.floor(Math.log2(topKib));
  const values = [0, power / 2, power].concat(topKib > 1.4 * power ? [1.5 * power] : []);
  return { range: [0, topKib * 1.1], tickvals: values, ticktext: values.map((kib) => formatSize(kib * 1024)) };
};

const HOVER = "<b>%{customdata}</b><br>%{hovertext}<br>%{text}<extra></extra>";

// The band of an interval; none where nothing has one.
const band = (costs, thickness, color) =>
  costs.every(({ low }) => low === null)
    ? {}
    : {
        error_x: {
          type: "data",
          symmetric: false,
          thickness,
          width: 0,
          color,
          array: costs.map(({ value, high }) => high - value),
          arrayminus: costs.map(({ value, low }) => value - low),
        },
      };

// One trace for all designs: what a redraw takes follows the number of traces. The band is grey, the points are not.
const points = (judged, name, costs, words, axes, note) => ({
  type: "scatter",
  mode: "markers",
  ...axes,
  name,
  showlegend: false,
  x: costs.map((cost) => cost.value),
  y: judged.map((result) => result.design.title),
  customdata: judged.map((result) => result.design.title),
  hovertext: words,
  text: judged.map(() => note),
  hovertemplate: HOVER,
  marker: {
    color: judged.map((result) => result.design.colour),
    symbol: judged.map((result) => `${result.design.symbol}-open`),
    size: 11,
    line: { color: judged.map((result) => result.design.colour), width: 2 },
  },
  ...band(costs, 9, "rgba(128,128,128,0.35)"),
});

const reached = (costs) => costs.flatMap(({ value, low, high }) => [low ?? value, high ?? value]);

// `colours` by rank: as many parts as there are of them, the last one of everything else.
const waterfall = (sim, costs, judged, colours) => {
  const sumOf = (counts, events) => events.reduce((sum, event) => sum + counts[event], 0);
  const priced = judged.map((result) => result.total.map((count, i) => count * costs.vector[i]));
  // By share, so that a slow design does not choose the parts of the others.
  const sums = sim.events.map((_, i) =>
    priced.reduce((sum, prices, row) => sum + prices[i] / (judged[row].work.value || 1), 0),
  );
  const ordered = descending(sums);
  const rest = ordered.slice(colours.length - 1);
  const parts = ordered.slice(0, colours.length - 1).map((event) => [sim.events[event].replaceAll("_", " "), [event]]);
  if (rest.length) parts.push(["everything else", rest]);
  return parts.map(([name, events], number) => ({
    name,
    colour: colours[number],
    x: priced.map((prices, i) => (100 * sumOf(prices, events)) / (judged[i].work.value || 1)),
    hovertext: priced.map((prices) => formatNs(sumOf(prices, events))),
    text: judged.map((result) => `counted ${formatCount(sumOf(result.total, events))} times`),
  }));
};
const descending = (sums) =>
  sums
    .map((_, i) => i)
    .filter((i) => sums[i] > 0)
    .sort((a, b) => sums[b] - sums[a] || a - b);

// Bars of what all work consists of, and what their colours and patterns stand for: elements of the page, since plotly
// takes as long for these few boxes as for everything else together.
export const workBars = (parts, judged) =>
  judged
    .flatMap((result, row) => {
      const boxes = parts
        .filter((part) => part.x[row] > 0)
        .map((part) => {
          const said = `${part.hovertext[row]} (${digits(part.x[row], 3)} %), ${part.text[row]}`;
          return make("span", {
            class: `swatch pattern-${parts.indexOf(part)}`,
            style: `--swatch: ${part.colour}; flex-grow: ${part.x[row]}`,
            title: `${result.design.title}, ${part.name}: ${said}`,
            "data-share": part.x[row],
            "data-part": part.name,
          });
        });
      const labelled = parts
        .filter((part) => part.x[row] >= 0.5)
        .map((part) => `${part.name} ${digits(part.x[row], 2)} %`);
      return [
        make("span", { "aria-hidden": "true" }, result.design.title),
        make(
          "div",
          { class: "bar", role: "img", "aria-label": `${result.design.title}: ${labelled.join(", ")}` },
          ...boxes,
        ),
      ];
    })
    .concat(
      make("span"),
      make(
        "div",
        { class: "scale", "aria-hidden": "true" },
        ...["0 %", "50 %", "100 %"].map((end) => make("span", {}, end)),
      ),
    );
export const workLegend = (parts) =>
  parts.map(({ name, colour }, i) =>
    make(
      "li",
      {},
      make("span", { class: `swatch pattern-${i}`, style: `--swatch: ${colour}`, "aria-hidden": "true" }),
      ` ${name}`,
    ),
  );

export const compareFigure = (sim, costs, judged, { words, colours }, width) => {
  const narrow = width < 640;
  // Side by side, panels of designs have one axis of designs: what a redraw takes follows the number of axes.
  const [second, third] = narrow ? ["y2", "y3"] : ["y", "y"];
  const titles = judged.map((result) => result.design.title);
  const [stops, works] = [judged.map((result) => result.stop), judged.map((result) => result.work)];
  const tables = judged.map((result) => ({ value: result.tables, low: null }));
  const sizes = tables.map(({ value }) => formatSize(value * 1024));
  const counted = "counted, not priced: exact on average";
  const data = [
    points(judged, "stop time, predicted", stops, stops.map(withInterval), { xaxis: "x", yaxis: "y" }, "predicted"),
    points(judged, "all work, predicted", works, works.map(withInterval), { xaxis: "x2", yaxis: second }, "predicted"),
    points(judged, "page tables afterwards, counted", tables, sizes, { xaxis: "x3", yaxis: third }, counted),
  ];
  judged.forEach((result) => {
    const times = result.writes.map((row) => row.cost);
    data.push({
      type: "scatter",
      mode: "lines+markers",
      name: `time of one later write, predicted: ${result.design.title}`,
      xaxis: "x4",
      yaxis: "y4",
      showlegend: false,
      x: times.map(({ value }) => value),
      y: result.writes.map((row) => row.slower),
      line: { color: result.design.colour, width: 1.5, shape: "vh", dash: result.design.dash },
      marker: {
        color: result.design.colour,
        symbol: `${result.design.symbol}-open`,
        size: 9,
        line: { color: result.design.colour, width: 2 },
      },
      ...band(times, 5, `${result.design.colour}40`),
      customdata: result.writes.map(() => result.design.title),
      hovertext: times.map(withInterval),
      text: result.writes.map((row) => {
        const kind = words.kinds[(row.code >> 1) & 3];
        const level = words.levels[(row.code >> 5) & 3];
        return `${digits(100 * row.share, 3)} % of these writes: they find ${kind} at the ${level} level`;
      }),
      hovertemplate: HOVER,
    });
  });
  const parts = waterfall(sim, costs, judged, colours);
  const saved = [
    ...data,
    ...parts.map(({ name, ...part }) => ({
      ...part,
      name: `of all work: ${name}`,
      xaxis: "x5",
      yaxis: "y5",
      customdata: titles,
      y: [],
    })),
  ];
  const slow = judged.flatMap((result) => result.writes.flatMap(({ cost }) => [cost.value, cost.high ?? cost.value]));
  const layout = {
    // Fixed, since margins that plotly finds by itself make it lay everything out several times.
    height: narrow ? 950 : 540,
    margin: { l: narrow ? 126 : 152, r: 30, t: 10, b: 52, autoexpand: false },
    showlegend: false,
    hoverlabel: { align: "left" },
    font: { size: 13 },
    dragmode: false,
    meta: { units: { x: "ns", x2: "ns", x3: "KiB", x4: "ns", x5: "%", y4: "share of the writes that fault" } },
  };
  const designs = {
    type: "category",
    categoryorder: "array",
    categoryarray: [...titles].reverse(),
    range: [-0.6, judged.length - 0.4],
    ticklabeloverflow: "allow",
  };
  const shares = {
    type: "log",
    title: { text: "take as long or longer", font: { size: 13 } },
    tickvals: [1, 0.1, 0.01, 0.001, 1e-4, 1e-5],
    ticktext: ["100 %", "10 %", "1 %", "0.1 %", "0.01 %", "0.001 %"],
  };
  const room = narrow ? 3 : 5; // labels of an axis
  const last = slow.length
    ? { head: "time of one later write", ...timeTicks(slow, room) }
    : { head: "no later write faults", showticklabels: false, showgrid: false };
  const panels = [
    { head: "stop time", ...timeTicks(reached(stops), room) },
    { head: "all work", ...timeTicks(reached(works), room) },
    { head: "page tables afterwards", ...sizeTicks(Math.max(...judged.map((result) => result.tables))) },
    last,
  ];
  const whole = [0, 1];
  const top = [0.65, 1];
  const across = narrow ? [whole, whole, whole, whole] : [[0, 0.3], [0.35, 0.65], [0.7, 1], whole];
  const upwards = narrow
    ? [
        [0.86, 1],
        [0.62, 0.76],
        [0.38, 0.52],
        [0, 0.27],
      ]
    : [top, top, top, [0, 0.45]];
  ["y", second, third, "y4"].forEach((y, i) => {
    const n = i ? i + 1 : "";
    const { head, ...axis } = panels[i];
    layout[`xaxis${n}`] = {
      ...axis,
      title: { text: head, font: { size: 13 } },
      domain: across[i],
      anchor: y,
      zeroline: false,
      ticks: "",
      tickangle: 0,
      ticklabeloverflow: "allow",
    };
    if (y !== `y${n}`) return;
    layout[`yaxis${n}`] = { ...(i === 3 ? shares : designs), domain: upwards[i], anchor: `x${n}`, zeroline: false };
  });
  if (!slow.length) layout.yaxis4.visible = false;
  return { data, saved, parts, layout };
};
