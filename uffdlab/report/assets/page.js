// SPDX-License-Identifier: MIT
// Everything a page does: theme, folding of code, drawing of figures, and handing out their data.
"use strict";
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const each = (selector, act) => document.querySelectorAll(selector).forEach(act);
  let Plotly = null;

  // --- theme: the system's until the reader chooses; not remembered, since a file has no place to remember in
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const printing = window.matchMedia("print");
  let chosen = null;
  const setTheme = () => {
    const dark = !printing.matches && (chosen === null ? system.matches : chosen);
    root.dataset.theme = dark ? "dark" : "light";
    byId("theme").textContent = dark ? "Light theme" : "Dark theme";
    each(".js-plotly-plot", (plot) => Plotly.relayout(plot, colours(plot.layout)));
  };
  byId("theme").addEventListener("click", () => {
    chosen = root.dataset.theme !== "dark";
    setTheme();
  });
  system.addEventListener("change", setTheme);

  const colours = (layout) => {
    const style = getComputedStyle(root);
    const [ink, grid, paper, line] = ["--ink", "--grid", "--paper", "--line"].map((name) => style.getPropertyValue(name).trim());
    const update = { "font.color": ink, "hoverlabel.bgcolor": paper, "hoverlabel.font.color": ink, "hoverlabel.bordercolor": line };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        update[`${key}.gridcolor`] = grid;
        update[`${key}.linecolor`] = grid;
      }
    }
    (layout.updatemenus || []).forEach((_, i) => {
      update[`updatemenus[${i}].font.color`] = ink;
      update[`updatemenus[${i}].bgcolor`] = paper;
      update[`updatemenus[${i}].bordercolor`] = grid;
    });
    return update;
  };

  // --- code: folded, one click each, one button for all
  const codes = byId("codes");
  if (codes) {
    codes.addEventListener("click", () => {
      const open = codes.getAttribute("aria-pressed") !== "true";
      codes.setAttribute("aria-pressed", String(open));
      codes.textContent = open ? "Hide code" : "Show code";
      each("details.code", (code) => { code.open = open; });
    });
  }
  const contents = document.querySelector(".contents details");
  if (contents && !window.matchMedia("(min-width: 62rem)").matches) contents.open = false;

  // --- tables: numbers to the right, short words unbroken; a notebook's table says neither of its columns
  each("table", (table) => {
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
    for (let i = 0; rows.length && i < rows[0].cells.length; i += 1) {
      const column = [...table.rows].map((row) => row.cells[i]).filter(Boolean);
      const texts = rows.map((row) => (row.cells[i] ? row.cells[i].textContent.trim() : ""));
      const kind = texts.every((text) => /^[-+−]?[\d,. ]*\d$/.test(text)) && texts.some((text) => !/^0\d/.test(text)) ? "number"
        : texts.every((text) => text.length <= 18) ? "short" : null;
      if (kind) column.forEach((one) => one.classList.add(kind));
    }
  });

  // --- figures
  const loadPlotly = async () => {
    const packed = Uint8Array.from(atob(byId("plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const source = new Blob([await new Response(stream).arrayBuffer()], { type: "text/javascript" });
    await new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.onload = resolve;
      script.onerror = () => reject(new Error("the drawing library in this page could not be started"));
      script.src = URL.createObjectURL(source);
      document.head.append(script);
    });
    Plotly = window.Plotly;
  };

  // A narrow page gets a figure that scrolls inside itself instead of one squeezed beyond reading.
  const widthOf = (place) => Math.max(place.clientWidth, Number(place.dataset.minWidth));
  const figureOf = (place) => JSON.parse(byId(`${place.id}-json`).textContent);

  const put = (layout, path, value) => {
    const keys = path.replace(/\[(\d+)\]/g, ".$1").split(".");
    const last = keys.pop();
    keys.reduce((inner, key) => { inner[key] = inner[key] || {}; return inner[key]; }, layout)[last] = value;
  };

  const draw = async (place) => {
    const { data, layout: { sliders = [], ...layout }, frames } = figureOf(place);
    Object.assign(layout, { width: widthOf(place), height: Number(place.dataset.height) });
    Object.entries(colours(layout)).forEach(([path, value]) => put(layout, path, value));
    const config = { displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
    await Plotly.newPlot(place, { data, layout, frames, config });
    fit(place);
    sliders.forEach((slider, i) => connect(place, slider, byId(`${place.id}-slider-${i}`)));
  };

  // Inputs of the page stand for plotly's sliders, which neither a keyboard nor a screen reader can move.
  const connect = (place, { steps }, input) => {
    const output = input.parentElement.querySelector("output");
    input.addEventListener("input", () => {
      const { method, args, label } = steps[input.valueAsNumber];
      output.textContent = label;
      input.setAttribute("aria-valuetext", label);
      if (["restyle", "relayout", "update", "animate"].includes(method)) Plotly[method](place, ...args);
    });
  };

  const fit = (place) => {
    if (place.layout.width !== widthOf(place)) {
      Plotly.relayout(place, { width: widthOf(place) });
      Plotly.redraw(place); // a legend that takes fewer lines now stays where it was until the second time
    }
    // What scrolls has to be within reach of a keyboard.
    if (place.scrollWidth > place.clientWidth) place.tabIndex = 0;
    else place.removeAttribute("tabindex");
  };
  window.addEventListener("resize", () => each(".js-plotly-plot", fit));
  printing.addEventListener("change", () => { setTheme(); each(".js-plotly-plot", fit); });

  const failed = (place, error) => {
    const note = document.createElement("p");
    note.className = "failed";
    note.textContent = `This figure could not be drawn: ${error.message}. Its data is in the button below.`;
    place.style.minHeight = 0;
    place.replaceChildren(note);
    place.parentElement.querySelectorAll(".control").forEach((control) => control.remove());
  };

  const drawAll = async () => {
    const places = [...document.querySelectorAll(".plot")];
    if (places.length) {
      try {
        await loadPlotly();
      } catch (error) {
        places.forEach((place) => failed(place, error));
        return;
      }
    }
    for (const place of places) {
      try {
        await draw(place);
      } catch (error) {
        failed(place, error);
      }
    }
    performance.mark("uffdlab-drawn");
    root.dataset.drawn = "true";
  };

  // --- data: what the figure draws now, after whatever was moved
  const cell = (value) => {
    const text = value === undefined || value === null ? "" : String(value);
    // A leading = + - @ would be a formula to a spreadsheet.
    const safe = /^[=+@]|^-(?![\d.])/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const TYPES = { i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array };
  // Python packs the arrays of numpy.
  const list = (values) => {
    if (!values || !values.bdata) return values || [];
    return Array.from(new TYPES[values.dtype](Uint8Array.from(atob(values.bdata), (c) => c.charCodeAt(0)).buffer));
  };
  const csv = (traces, units = {}) => {
    const rows = [["series", "label", "x", "x_minus", "x_plus", "x_unit", "y", "y_minus", "y_plus", "y_unit", "note"]];
    traces.filter((trace) => trace.visible !== false && trace.visible !== "legendonly").forEach((trace) => {
      const [xs, ys, notes, labels] = [trace.x, trace.y, trace.text, trace.customdata].map(list);
      const bars = [trace.error_x, trace.error_y].map((bar) => ["arrayminus", "array"].map((end) => list(bar && bar[end])));
      const at = (values, i) => (typeof values === "string" ? values : values[i]);
      for (let i = 0; i < Math.max(xs.length, ys.length); i += 1) {
        rows.push([trace.name, at(labels, i), xs[i], ...bars[0].map((end) => end[i]), units[trace.xaxis || "x"],
          ys[i], ...bars[1].map((end) => end[i]), units[trace.yaxis || "y"], at(notes, i)]);
      }
    });
    return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
  };
  each(".csv", (button) => button.addEventListener("click", () => {
    const place = byId(button.dataset.figure);
    const { data, layout: { meta } } = place.data ? place : figureOf(place);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(data, meta && meta.units)], { type: "text/csv" }));
    link.download = `${document.title.split(" · ")[0].replace(/[^A-Za-z0-9]+/g, "-").toLowerCase()}-${place.id}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }));

  setTheme();
  drawAll();
})();
