// SPDX-License-Identifier: MIT
// Shared by the widgets: accessible controls, number formats, plotly, themes.

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
// The contents of a table: each row begins with its heading; `cell` has the attributes of the other cells.
export const tableOf = (caption, heads, rows, cell = {}) => {
  const head = (scope, text) => make("th", { scope }, text);
  const row = ([name, ...values]) => make("tr", {}, head("row", name), ...values.map((text) => make("td", cell, text)));
  return [
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...heads.map((text) => head("col", text)))),
    make("tbody", {}, ...rows.map(row)),
  ];
};
// Unique in a page that has modules of several widgets.
export const newId = () => {
  globalThis.uffdlabIds = (globalThis.uffdlabIds || 0) + 1;
  return `uffdlab-${globalThis.uffdlabIds}`;
};

// Set up a widget's element. JupyterLab has shortcuts of single keys (arrows, "a", "d d"), so keep from it keys without
// Ctrl or Alt and, in a text field, those that edit; Shift with Enter runs the cell.
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

// A slider over numbers: `show` formats a value, `act` receives each move.
export const slider = ({ label, min, max, step, value, show, act }) => {
  const id = newId();
  const input = make("input", { type: "range", id, min, max, step, autocomplete: "off" });
  const output = make("output", { for: id });
  // Format the value itself, since the steps of the input may not reach it.
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

// --- units, as uffdlab/units.py has them: tests/widgets/test_scripts.py holds one to the other

export const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const plain = new Intl.NumberFormat("en", { useGrouping: false, maximumSignificantDigits: 17 });
export const digits = (value, count) => plain.format(Number(value.toPrecision(count)));
const withUnit = (value, count, factor, units) => {
  const inUnit = (power) => Number((value / factor ** power).toPrecision(count));
  const at = units.findIndex((_, power) => Math.abs(inUnit(power)) < factor);
  const power = at < 0 ? units.length - 1 : at;
  return `${plain.format(inUnit(power))} ${units[power]}`;
};
export const formatNs = (ns) => withUnit(ns, 3, 1000, ["ns", "µs", "ms", "s"]);
export const formatSize = (bytes) => withUnit(bytes, 4, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
export const formatCount = (value) => (value < 1e6 ? grouped.format(value) : value.toExponential(2).replace("e+", "e"));
export const formatRatio = (value) => (Math.abs(value) >= 100 ? grouped.format(value) : digits(value, 3));
export const formatPercent = (value) => `${digits(value * 100, 3)} %`;
// Formats of values by kind.
const FORMATS = {
  size: formatSize,
  ns: formatNs,
  percent: formatPercent,
  count: formatCount,
  pages: (value) => formatSize(4096 * value),
  number: (value) => digits(value, 4),
};
export const shown = ({ format }, value) => FORMATS[format](value);

// --- plotly: of the page, or the copy that the kernel sends once for all widgets

const fromGzip = async (bytes) => {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
};
const startScript = async (source) => {
  // Hide the page's module loader, which would capture the library.
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
// Set the colours of the theme last, so that figures do not depend on it.
const themed = (layout, [ink, grid, paper, line]) => {
  const clear = "rgba(0,0,0,0)";
  const result = { paper_bgcolor: clear, plot_bgcolor: clear, ...layout };
  put(result, "font.color", ink);
  put(result, "hoverlabel.bgcolor", paper);
  put(result, "hoverlabel.font.color", ink);
  put(result, "hoverlabel.bordercolor", line);
  put(result, "modebar.bgcolor", paper);
  // A figure without axes in its layout has one of each.
  Object.keys({ xaxis: 0, yaxis: 0, ...layout })
    .filter((key) => /^[xy]axis\d*$/.test(key))
    .forEach((key) => {
      result[key] = { ...layout[key], gridcolor: grid, linecolor: grid };
    });
  return result;
};

export const saving = (act) => button("Data (CSV)", act, { class: "csv" });

// A figure: `build` returns {data, layout} for a width, again whenever theme or width change.
export class Drawing {
  constructor(model, build, name) {
    this.model = model;
    this.build = build;
    this.place = make("div", { class: "ul-plot" });
    this.caption = make("figcaption");
    this.sentence = make("span");
    this.origin = make("small");
    this.caption.append(
      this.sentence,
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

  // Width and colours are cached, since reading them lays out the page; `forget` drops them.
  async draw() {
    if (!this.plotly || this.element.closest("[hidden]")) return;
    this.width ||= this.place.clientWidth;
    this.colours ??= coloursOf(this.place);
    const figure = this.build(this.width || 700);
    // Hide the figure of other values while the present ones are refused.
    this.place.hidden = this.caption.hidden = !figure;
    this.figure = figure;
    if (!figure) return;
    const least = figure.layout.meta?.min_width || 0;
    const layout = { ...themed(figure.layout, this.colours), width: Math.max(this.width || 700, least) };
    await this.plotly.react(this.place, figure.data, layout, this.model.get("config"));
    // Change the page around a figure after it: plotly reads positions, which lays out a changed page.
    if (figure.after) figure.after();
    if (!this.reached) this.reach();
    const { caption = "", origin = "" } = figure.layout.meta || {};
    if (this.sentence.textContent !== caption) this.sentence.textContent = caption;
    if (this.origin.textContent !== origin) this.origin.textContent = origin;
  }

  // Let the keyboard focus a figure that scrolls.
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
