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
  let chosen = null;
  const setTheme = () => {
    const dark = chosen === null ? system.matches : chosen;
    root.dataset.theme = dark ? "dark" : "light";
    byId("theme").textContent = dark ? "Light" : "Dark";
    each(".js-plotly-plot", (plot) => Plotly.relayout(plot, colours(plot.layout)));
  };
  byId("theme").addEventListener("click", () => {
    chosen = root.dataset.theme !== "dark";
    setTheme();
  });
  system.addEventListener("change", setTheme);

  const colours = (layout) => {
    const style = getComputedStyle(root);
    const ink = style.getPropertyValue("--ink").trim();
    const grid = style.getPropertyValue("--grid").trim();
    const paper = style.getPropertyValue("--paper").trim();
    const update = { "font.color": ink, "hoverlabel.bgcolor": paper, "hoverlabel.font.color": ink };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        update[`${key}.gridcolor`] = grid;
        update[`${key}.linecolor`] = grid;
        update[`${key}.tickcolor`] = grid;
      }
    }
    for (const kind of ["sliders", "updatemenus"]) {
      (layout[kind] || []).forEach((_, i) => {
        update[`${kind}[${i}].font.color`] = ink;
        update[`${kind}[${i}].bgcolor`] = grid;
        update[`${kind}[${i}].bordercolor`] = grid;
      });
    }
    (layout.sliders || []).forEach((_, i) => { update[`sliders[${i}].tickcolor`] = ink; });
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

  const draw = async (place) => {
    const { data, layout, frames } = JSON.parse(byId(`${place.id}-json`).textContent);
    // A narrow page gets a figure that scrolls inside itself instead of one squeezed beyond reading.
    const width = Math.max(place.clientWidth, 560);
    const config = { displaylogo: false, responsive: place.clientWidth >= 560, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
    await Plotly.newPlot(place, { data, layout: place.clientWidth < 560 ? { ...layout, width } : layout, frames, config });
    await Plotly.relayout(place, colours(place.layout));
  };

  const failed = (place, error) => {
    const note = document.createElement("p");
    note.className = "failed";
    note.textContent = `This figure could not be drawn: ${error.message}. Its data is in the button below.`;
    place.replaceChildren(note);
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
  const bar = (error, i, which) => {
    const array = error && error[which];
    return array && i < array.length ? array[i] : "";
  };
  const csv = (traces) => {
    const rows = [["series", "x", "y", "x_minus", "x_plus", "y_minus", "y_plus", "note"]];
    traces.filter((trace) => trace.visible !== false && trace.visible !== "legendonly").forEach((trace) => {
      const xs = trace.x || [];
      for (let i = 0; i < xs.length; i += 1) {
        const note = Array.isArray(trace.text) ? trace.text[i] : trace.text;
        rows.push([trace.name, xs[i], (trace.y || [])[i], bar(trace.error_x, i, "arrayminus"), bar(trace.error_x, i, "array"),
          bar(trace.error_y, i, "arrayminus"), bar(trace.error_y, i, "array"), note]);
      }
    });
    return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
  };
  each(".csv", (button) => button.addEventListener("click", () => {
    const place = byId(button.dataset.figure);
    const traces = place.data || JSON.parse(byId(`${place.id}-json`).textContent).data;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(traces)], { type: "text/csv" }));
    link.download = `${document.title.split(" · ")[0].replace(/[^A-Za-z0-9]+/g, "-").toLowerCase()}-${place.id}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }));

  setTheme();
  drawAll();
})();
