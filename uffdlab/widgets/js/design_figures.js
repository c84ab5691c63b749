// SPDX-License-Identifier: MIT
// The figure in which designs are compared. Predictions are hollow, with a band.

import { digits, formatCount, formatNs, formatSize, make } from "./base.js";
import { said } from "./design_words.js";

const WATERFALL = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#777777"];
const MOST = 7;

const timeTicks = (lowest, highest, room) => {
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

// One trace for all designs: what a redraw takes follows the number of traces. The band is grey, the points are not.
const points = (judged, name, cost, words, axes, note) => ({
  type: "scatter",
  mode: "markers",
  ...axes,
  name,
  showlegend: false,
  x: judged.map((one) => cost(one).value),
  y: judged.map((one) => one.design.title),
  customdata: judged.map((one) => one.design.title),
  hovertext: judged.map(words),
  text: judged.map(() => note),
  hovertemplate: HOVER,
  marker: {
    color: judged.map((one) => one.design.colour),
    symbol: judged.map((one) => `${one.design.symbol}-open`),
    size: 11,
    line: { color: judged.map((one) => one.design.colour), width: 2 },
  },
  ...(judged.some((one) => cost(one).low === null)
    ? {}
    : {
        error_x: {
          type: "data",
          symmetric: false,
          thickness: 9,
          width: 0,
          color: "rgba(128,128,128,0.35)",
          array: judged.map((one) => cost(one).high - cost(one).value),
          arrayminus: judged.map((one) => cost(one).value - cost(one).low),
        },
      }),
});

const reached = (judged, of) =>
  judged
    .flatMap((one) => [of(one)])
    .filter(Boolean)
    .flatMap((cost) => [cost.low ?? cost.value, cost.high ?? cost.value]);

const waterfall = (sim, costs, judged) => {
  const priced = judged.map((one) => one.total.map((count, i) => count * costs.vector[i]));
  // By share, so that a design which takes long does not choose what is told of the others.
  const sums = sim.events.map((_, i) =>
    priced.reduce((sum, one, row) => sum + one[i] / (judged[row].work.value || 1), 0),
  );
  const dearest = sims(sums).slice(0, MOST - 1);
  const rest = sims(sums).slice(MOST - 1);
  const parts = dearest.map((event) => [sim.events[event].replaceAll("_", " "), [event]]);
  if (rest.length) parts.push(["everything else", rest]);
  return parts.map(([name, events], number) => ({
    name,
    xaxis: "x5",
    yaxis: "y5",
    colour: WATERFALL[number],
    x: priced.map((one, i) => (100 * events.reduce((sum, event) => sum + one[event], 0)) / (judged[i].work.value || 1)),
    y: judged.map((one) => one.design.title),
    customdata: judged.map(() => name),
    hovertext: priced.map((one) => formatNs(events.reduce((sum, event) => sum + one[event], 0))),
    text: judged.map((one) => `counted ${formatCount(events.reduce((sum, event) => sum + one.total[event], 0))} times`),
  }));
};
const sims = (sums) =>
  sums
    .map((_, i) => i)
    .filter((i) => sums[i] > 0)
    .sort((a, b) => sums[b] - sums[a] || a - b);

// Bars of what all work consists of, and what their colours and patterns stand for: elements of the page, since plotly
// takes as long for these few boxes as for everything else together.
export const workBars = (parts, judged) =>
  judged
    .flatMap((one, row) => {
      const boxes = parts
        .filter((part) => part.x[row] > 0)
        .map((part) =>
          make("span", {
            class: `swatch pattern-${parts.indexOf(part)}`,
            style: `--swatch: ${part.colour}; flex-grow: ${part.x[row]}`,
            title: `${one.design.title}, ${part.name}: ${part.hovertext[row]} (${digits(part.x[row], 3)} %), ${part.text[row]}`,
            "data-share": part.x[row],
            "data-part": part.name,
          }),
        );
      const told = parts.filter((part) => part.x[row] >= 0.5).map((part) => `${part.name} ${digits(part.x[row], 2)} %`);
      return [
        make("span", { "aria-hidden": "true" }, one.design.title),
        make("div", { class: "bar", role: "img", "aria-label": `${one.design.title}: ${told.join(", ")}` }, ...boxes),
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

export const compareFigure = (sim, costs, judged, words, width) => {
  const narrow = width < 640;
  // Side by side, panels of designs have one axis of designs: what a redraw takes follows the number of axes.
  const [second, third] = narrow ? ["y2", "y3"] : ["y", "y"];
  const data = [
    points(
      judged,
      "stop time, predicted",
      (one) => one.stop,
      (one) => said(one.stop),
      { xaxis: "x", yaxis: "y" },
      "predicted",
    ),
    points(
      judged,
      "all work, predicted",
      (one) => one.work,
      (one) => said(one.work),
      { xaxis: "x2", yaxis: second },
      "predicted",
    ),
    points(
      judged,
      "page tables afterwards, counted",
      (one) => ({ value: one.tables, low: null }),
      (one) => formatSize(one.tables * 1024),
      { xaxis: "x3", yaxis: third },
      "counted, not priced: exact on average",
    ),
  ];
  judged.forEach((one) =>
    data.push({
      type: "scatter",
      mode: "lines+markers",
      name: `time of one later write, predicted: ${one.design.title}`,
      xaxis: "x4",
      yaxis: "y4",
      showlegend: false,
      x: one.writes.map((row) => row.cost.value),
      y: one.writes.map((row) => row.slower),
      line: { color: one.design.colour, width: 1.5, shape: "vh", dash: one.design.dash },
      marker: {
        color: one.design.colour,
        symbol: `${one.design.symbol}-open`,
        size: 9,
        line: { color: one.design.colour, width: 2 },
      },
      ...(one.writes.some((row) => row.cost.low !== null)
        ? {
            error_x: {
              type: "data",
              symmetric: false,
              thickness: 5,
              width: 0,
              color: `${one.design.colour}40`,
              array: one.writes.map((row) => row.cost.high - row.cost.value),
              arrayminus: one.writes.map((row) => row.cost.value - row.cost.low),
            },
          }
        : {}),
      customdata: one.writes.map(() => one.design.title),
      hovertext: one.writes.map((row) => said(row.cost)),
      text: one.writes.map(
        (row) =>
          `${digits(100 * row.share, 3)} % of these writes: they find ${words.kinds[(row.code >> 1) & 3]} at the ${words.levels[(row.code >> 5) & 3]} level`,
      ),
      hovertemplate: HOVER,
    }),
  );
  const parts = waterfall(sim, costs, judged);
  const saved = [
    ...data,
    ...parts.map((part) => ({ ...part, name: `of all work: ${part.name}`, customdata: part.y, y: [] })),
  ];
  const rows = judged.length;
  const titles = judged.map((one) => one.design.title);
  const category = {
    type: "category",
    categoryorder: "array",
    categoryarray: [...titles].reverse(),
    range: [-0.6, rows - 0.4],
  };
  const at = narrow
    ? [
        [
          [0, 1],
          [0.86, 1],
        ],
        [
          [0, 1],
          [0.62, 0.76],
        ],
        [
          [0, 1],
          [0.38, 0.52],
        ],
        [
          [0, 1],
          [0, 0.27],
        ],
      ]
    : [
        [
          [0, 0.3],
          [0.65, 1],
        ],
        [
          [0.35, 0.65],
          [0.65, 1],
        ],
        [
          [0.7, 1],
          [0.65, 1],
        ],
        [
          [0, 1],
          [0, 0.45],
        ],
      ];
  const heads = ["stop time", "all work", "page tables afterwards", "time of one later write"];
  const slow = reached(
    judged,
    (one) => one.writes.length && { value: one.writes[0].cost.value, low: null, high: null },
  ).concat(judged.flatMap((one) => one.writes.map((row) => row.cost.high ?? row.cost.value)));
  const layout = {
    // Fixed, since margins that plotly finds by itself make it lay everything out several times.
    height: narrow ? 950 : 540,
    margin: { l: narrow ? 126 : 152, r: 30, t: 10, b: 52, autoexpand: false },
    showlegend: false,
    hoverlabel: { align: "left" },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { size: 13 },
    dragmode: false,
    meta: { units: { x: "ns", x2: "ns", x3: "KiB", x4: "ns", x5: "%", y4: "share of the writes that ask the kernel" } },
  };
  const times = [reached(judged, (one) => one.stop), reached(judged, (one) => one.work)];
  const room = narrow ? 3 : 5; // labels of an axis
  const axes = [
    timeTicks(Math.min(...times[0]), Math.max(...times[0]), room),
    timeTicks(Math.min(...times[1]), Math.max(...times[1]), room),
    sizeTicks(Math.max(...judged.map((one) => one.tables))),
    {
      ...(slow.length
        ? timeTicks(Math.min(...slow), Math.max(...slow), room)
        : { showticklabels: false, showgrid: false }),
    },
  ];
  axes.forEach((axis, i) => {
    const n = i ? i + 1 : "";
    layout[`xaxis${n}`] = {
      ...axis,
      title: { text: i === 3 && !slow.length ? "no later write asks the kernel" : heads[i], font: { size: 13 } },
      domain: at[i][0],
      anchor: `y${n}`,
      zeroline: false,
      ticks: "",
      tickangle: 0,
      ticklabeloverflow: "allow",
    };
    layout[`yaxis${n}`] =
      i === 3
        ? {
            type: "log",
            domain: at[i][1],
            anchor: `x${n}`,
            title: { text: "take as long or longer", font: { size: 13 } },
            tickvals: [1, 0.1, 0.01, 0.001, 1e-4, 1e-5],
            ticktext: ["100 %", "10 %", "1 %", "0.1 %", "0.01 %", "0.001 %"],
            zeroline: false,
          }
        : { ...category, domain: at[i][1], anchor: `x${n}`, zeroline: false, ticklabeloverflow: "allow" };
    if (!narrow && (i === 1 || i === 2)) {
      delete layout[`yaxis${n}`];
      layout[`xaxis${n}`].anchor = "y";
    }
  });
  if (!slow.length) layout.yaxis4.visible = false;
  return { data, saved, parts, layout };
};
