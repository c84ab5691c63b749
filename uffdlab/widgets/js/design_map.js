// SPDX-License-Identifier: MIT
// The decision map: which design is the cheapest over a plane of two parameters.

import { shown } from "./base.js";
import { against, together } from "./design_words.js";

// A number and its place on a slider (see Parameter in Python).
export const placeOf = ({ log, plus }, value) => (log ? Math.log2(value + plus) : value);
export const valueAt = ({ log, whole, plus }, place) => (log ? Math.round(2 ** place / whole) * whole - plus : place);

// One cell: what is decided, and between which designs; null where a cluster does not fit the range.
export const cellOf = (sim, costs, { at, designs }, objectives, state, where) => {
  const work = { ...state, ...where };
  if (designs.some((design) => sim.workProblem(design.at, work))) return null;
  const objective = objectives.findIndex(([name]) => name === state.objective);
  const weights = objectives.slice(0, -1).map(([name]) => state.weights[name]); // all but the mix
  const found = sim.decide(at, designs.length, work, objective, weights, costs.given);
  return found && { ...found, designs, ties: designs.filter((_, i) => found.standings[i].tied) };
};

const ticks = (values, parameter, room) => {
  const every = Math.max(1, Math.ceil(values.length / room));
  const marked = values.map((value, i) => [i, shown(parameter, value)]).filter(([i]) => i % every === 0);
  return {
    title: { text: parameter.axis, font: { size: 13 } },
    tickvals: marked.map(([i]) => i),
    ticktext: marked.map(([, text]) => text),
    range: [-0.5, values.length - 0.5],
    zeroline: false,
    showgrid: false,
    ticks: "",
    automargin: true,
  };
};

const traceOf = (look, own, [decided, open], state, [px, py]) => ({
  type: "bar",
  name: `${look.glyph} ${look.title}`,
  x: own.map((cell) => cell.i),
  y: own.map(() => 1),
  base: own.map((cell) => cell.j - 0.5),
  width: own.map(() => 1),
  offset: own.map(() => -0.5),
  marker: {
    color: look.colour,
    line: { width: 0 },
    pattern: {
      shape: own.map((cell) => (cell.clear ? decided : open)),
      fillmode: "overlay",
      fgcolor: "#ffffff",
      size: 7,
    },
  },
  customdata: own.map((cell) => [px.name, cell.x, py.name, cell.y]),
  text: own.map(() => look.glyph),
  textposition: "inside",
  insidetextanchor: "middle",
  textangle: 0,
  textfont: { size: 12, color: "#ffffff" },
  hovertext: own.map(
    (cell) =>
      `<b>${together(cell.ties)}</b> ${cell.tie ? "are equally cheap" : "is cheapest"}<br>` +
      `${against(cell, state.objective)}<br>` +
      `${px.axis}: ${shown(px, cell.x)}, ${py.axis}: ${shown(py, cell.y)}`,
  ),
  hovertemplate: "%{hovertext}<extra></extra>",
  cliponaxis: true,
});

// `designs` in the order of the legend, `cell` what is decided at a point.
export const mapFigure = (cell, designs, tie, parameters, state, width) => {
  const [px, py] = [state.x, state.y].map((name) => parameters.find((parameter) => parameter.name === name));
  const [xs, ys] = [px.grid, py.grid];
  const cells = ys
    .flatMap((y, j) =>
      xs.map((x, i) => {
        const found = cell({ [px.name]: x, [py.name]: y });
        return found && { ...found, x, y, i, j };
      }),
    )
    .filter(Boolean);
  const looks = designs.map((look) => {
    const own = cells.filter((item) => !item.tie && item.designs[item.best].name === look.name);
    return { look, own, patterns: ["", "/"] };
  });
  looks.push({ look: tie, own: cells.filter((item) => item.tie), patterns: [".", "x"] });
  const data = looks
    .filter(({ own }) => own.length)
    .map(({ look, own, patterns }) => traceOf(look, own, patterns, state, [px, py]));
  const place = (parameter, values) => {
    const [from, to, at] = [values[0], values.at(-1), state[parameter.name]].map((value) => placeOf(parameter, value));
    return ((at - from) / (to - from)) * (values.length - 1);
  };
  data.push({
    type: "scatter",
    mode: "markers",
    name: "where the controls stand",
    x: [place(px, xs)],
    y: [place(py, ys)],
    marker: { symbol: "cross", size: 15, color: "#ffffff", line: { width: 2.5, color: "#000000" } },
    hoverinfo: "skip",
    cliponaxis: false,
  });
  const saved = looks
    .filter(({ look, own }) => look !== tie || own.length)
    .map(({ look, own }) => ({
      name: look.title,
      x: own.map((item) => item.x),
      y: own.map((item) => item.y),
      text: own.map((item) => (item.tie ? `${together(item.ties)}; ` : "") + against(item, state.objective)),
    }));
  saved.push({ name: "where the controls stand", x: [state[px.name]], y: [state[py.name]] });
  const layout = {
    height: 520,
    margin: { l: 10, r: 16, t: 70, b: 48 },
    barmode: "overlay",
    bargap: 0,
    font: { size: 13 },
    dragmode: false,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hoverlabel: { align: "left" },
    xaxis: ticks(xs, px, width < 640 ? 4 : 8),
    yaxis: ticks(ys, py, 8),
    meta: { units: { x: px.unit, y: py.unit } },
  };
  return { data, saved, layout };
};

export const mapCaption = (objective, title) => {
  const hatched =
    objective === "mix"
      ? "always, since a mix has no interval of its own"
      : "the interval of its ratio to the next reaches 1, so that nothing is decided";
  return (
    `Colour and sign: the cheapest design by ${title}. Hatched: ${hatched}. Grey, dotted and with =: a tie, several ` +
    "are within 0.1 % of one another (crossed, where others would be hatched). A click takes a point to the comparison."
  );
};
