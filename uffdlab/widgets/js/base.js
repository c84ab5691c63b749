// SPDX-License-Identifier: MIT
// What the widgets have in common: controls that a keyboard and a screen reader reach, plotly, themes.

import { save } from "./csv.js";

// --- elements

export const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  });
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};
export const button = (words, onclick, more = {}) => make("button", { type: "button", onclick, ...more }, words);
// What stands in a table: each row begins with what it is of, and `cell` has the attributes of the other cells.
export const tableOf = (caption, heads, rows, cell = {}) => {
  const head = (scope, text) => make("th", { scope }, text);
  const row = ([name, ...values]) => make("tr", {}, head("row", name), ...values.map((text) => make("td", cell, text)));
  return [
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...heads.map((text) => head("col", text)))),
    make("tbody", {}, ...rows.map(row)),
  ];
};
// Modules of several widgets stand in one page.
export const newId = () => {
  globalThis.uffdlabIds = (globalThis.uffdlabIds || 0) + 1;
  return `uffdlab-${globalThis.uffdlabIds}`;
};

// A widget begins with this. Around it are shortcuts of single keys (in JupyterLab arrows move between cells, "a" and "d d"
// add and delete them): a key without Ctrl or Alt is its own, and in a text also those that edit it; Shift with Enter runs
// the cell.
const KEYS = /^(.|Arrow.*|Page.*|Home|End|Enter|Backspace|Delete)$/u;
const EDITING = /^([acvxyz]|Arrow.*|Home|End|Backspace|Delete)$/i;
export const begin = (el) => {
  el.classList.add("uffdlab-widget");
  el.addEventListener("keydown", (event) => {
    const combined = event.ctrlKey || event.altKey || event.metaKey;
    if (event.shiftKey && event.key === "Enter") return;
    const own = combined ? event.target.matches("input[type=text]") && EDITING.test(event.key) : KEYS.test(event.key);
    if (own) event.stopPropagation();
  });
};

// A slider over numbers: `show` puts a value into words, `act` is told of each move.
export const slider = ({ label, min, max, step, value, show, act }) => {
  const id = newId();
  const input = make("input", { type: "range", id, min, max, step, autocomplete: "off" });
  const output = make("output", { for: id });
  // The words are of the value itself, which the steps of the input may not meet.
  const set = (now) => {
    input.value = now;
    const words = show(now);
    output.textContent = words;
    input.setAttribute("aria-valuetext", words);
  };
  input.addEventListener("input", () => {
    set(input.valueAsNumber);
    act(input.valueAsNumber);
  });
  set(value);
  const ends = [min, max].map((end) => make("span", { class: "end", "aria-hidden": "true" }, show(Number(end))));
  return {
    element: make("div", { class: "control" }, make("label", { for: id }, label), ends[0], input, ends[1], output),
    set,
    input,
  };
};

export const choice = ({ label, values, value, act }) => {
  const id = newId();
  const select = make(
    "select",
    { id, autocomplete: "off" },
    ...values.map(([key, words]) => make("option", { value: key }, words)),
  );
  select.addEventListener("input", () => act(select.value));
  const set = (now) => {
    select.value = now;
  };
  set(value);
  return { element: make("div", { class: "choice" }, make("label", { for: id }, label), select), set, select };
};

// --- units, as the Python side has them

export const digits = (value, count) => String(Number(value.toPrecision(count)));
export const formatNs = (ns) => {
  const [factor, unit] = [
    [1e9, "s"],
    [1e6, "ms"],
    [1e3, "µs"],
  ].find(([least]) => Math.abs(ns) >= least) || [1, "ns"];
  return `${digits(ns / factor, 3)} ${unit}`;
};
export const formatSize = (bytes) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [value, at] = [bytes, 0];
  while (Math.abs(value) >= 1024 && at < 4) {
    value /= 1024;
    at += 1;
  }
  return `${digits(value, 4)} ${units[at]}`;
};
export const grouped = new Intl.NumberFormat("en");
export const formatCount = (value) =>
  value < 1e6 ? grouped.format(Math.round(value)) : value.toExponential(2).replace("e+", "e");
export const formatRatio = (value) => (Math.abs(value) >= 100 ? grouped.format(Math.round(value)) : digits(value, 3));
export const formatPercent = (value) => `${digits(value * 100, 3)} %`;
// A value in the words of its kind.
const FORMATS = {
  size: formatSize,
  ns: formatNs,
  percent: formatPercent,
  count: formatCount,
  pages: (value) => formatSize(4096 * value),
  number: (value) => digits(value, 4),
};
export const shown = ({ format }, value) => FORMATS[format](value);

// --- plotly: the page's own, or else the copy that the kernel has sent once for all widgets

const fromGzip = async (bytes) => {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
};
const startScript = async (source) => {
  // A loader of modules on the page would catch what is meant for everybody.
  const { define } = globalThis;
  globalThis.define = undefined;
  try {
    await new Promise((resolve, reject) => {
      const script = make("script", { src: URL.createObjectURL(new Blob([source], { type: "text/javascript" })) });
      script.onload = resolve;
      script.onerror = () => reject(new Error("the drawing library could not be started"));
      document.head.append(script);
    });
  } finally {
    if (define) globalThis.define = define;
  }
};
export const held = async (model, name) => {
  const library = await model.widget_manager.get_model(model.get("library").replace("IPY_MODEL_", ""));
  const view = library.get(name);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
};
// Doubles that Python sent as bytes.
export const heldNumbers = (view) =>
  new Float64Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
const plotly = (model) => {
  globalThis.uffdlabPlotly ??= (async () => {
    await startScript(await fromGzip(await held(model, "plotly")));
    return globalThis.Plotly;
  })();
  return globalThis.uffdlabPlotly;
};

// --- drawing

const COLOURS = ["--ul-ink", "--ul-grid", "--ul-paper", "--ul-line"];
const put = (object, path, value) => {
  const keys = path.split(".");
  const last = keys.pop();
  const inner = keys.reduce((at, key) => (at[key] = { ...at[key] }), object);
  if (inner[last] === undefined) inner[last] = value;
};
const coloursOf = (element) => {
  const style = getComputedStyle(element);
  return COLOURS.map((name) => style.getPropertyValue(name).trim());
};
// The colours of the theme come last, so that a figure never has to know which one is on.
const themed = (layout, [ink, grid, paper, line]) => {
  const clear = "rgba(0,0,0,0)";
  const result = { paper_bgcolor: clear, plot_bgcolor: clear, ...layout };
  put(result, "font.color", ink);
  put(result, "hoverlabel.bgcolor", paper);
  put(result, "hoverlabel.font.color", ink);
  put(result, "hoverlabel.bordercolor", line);
  put(result, "modebar.bgcolor", paper);
  // A figure that says nothing of its axes has one of each all the same.
  Object.keys({ xaxis: 0, yaxis: 0, ...layout })
    .filter((key) => /^[xy]axis\d*$/.test(key))
    .forEach((key) => {
      result[key] = { ...layout[key], gridcolor: grid, linecolor: grid };
    });
  return result;
};

export const saving = (act) => button("Data (CSV)", act, { class: "csv" });

// A place for a figure; `make` is asked for {data, layout} at the width there is, again whenever theme or width change.
export class Drawing {
  constructor(model, build, name) {
    this.model = model;
    this.build = build;
    this.place = make("div", { class: "ul-plot" });
    this.caption = make("figcaption");
    this.said = make("span");
    this.origin = make("small");
    this.caption.append(
      this.said,
      " ",
      this.origin,
      saving(() => this.save(name)),
    );
    this.element = make("figure", {}, this.place, this.caption);
    this.forget();
  }

  forget() {
    this.width = 0;
    this.reached = false;
    this.colours = null;
  }

  async start() {
    this.plotly = await plotly(this.model);
    const anew = () => {
      this.forget();
      this.draw();
    };
    new ResizeObserver(() => {
      if (this.place.clientWidth && this.place.clientWidth !== this.width) anew();
    }).observe(this.element);
    const again = new MutationObserver(anew);
    again.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    again.observe(document.body, {
      attributes: true,
      attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind"],
    });
    await this.draw();
  }

  // Width and colours are kept, since asking for them lays out the page; whoever changes them forgets them.
  async draw() {
    if (!this.plotly || this.element.closest("[hidden]")) return;
    this.width ||= this.place.clientWidth;
    this.colours ??= coloursOf(this.place);
    const figure = this.build(this.width || 700);
    // What was drawn for other values does not stand beside a sentence that says what is wrong with these.
    this.place.hidden = this.caption.hidden = !figure;
    this.figure = figure;
    if (!figure) return;
    const least = figure.layout.meta?.min_width || 0;
    const layout = { ...themed(figure.layout, this.colours), width: Math.max(this.width || 700, least) };
    await this.plotly.react(this.place, figure.data, layout, this.model.get("config"));
    // What stands around a figure changes after it: plotly asks for its place, and a changed page would be laid out for that.
    if (figure.after) figure.after();
    if (!this.reached) this.reach();
    const { caption = "", origin = "" } = figure.layout.meta || {};
    if (this.said.textContent !== caption) this.said.textContent = caption;
    if (this.origin.textContent !== origin) this.origin.textContent = origin;
  }

  // What scrolls has to be within reach of a keyboard.
  reach() {
    this.reached = true;
    if (this.place.scrollWidth > this.place.clientWidth) this.place.tabIndex = 0;
    else this.place.removeAttribute("tabindex");
  }

  save(name) {
    if (this.figure) save(this.figure.saved || this.figure.data, this.figure.layout.meta?.units, name);
  }
}

export const change = (model, changes) => {
  model.set("state", { ...model.get("state"), ...changes });
  model.save_changes();
};
