// SPDX-License-Identifier: MIT
// Everything a page does: theme, folding of code, drawing of figures, and handing out their data.
"use strict";
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const each = (selector, act) => document.querySelectorAll(selector).forEach(act);
  // A widget sees to its own, and what a notebook wrote has none of our data attributes, whatever its classes and ids.
  const PLOT = ".plot[data-min-width]";
  const DRAWN = `${PLOT}.js-plotly-plot`;
  let Plotly = null;

  // --- theme: the system's until the reader chooses; not remembered, since a file has no place to remember in
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const printing = window.matchMedia("print");
  let chosen = null;
  const setTheme = () => {
    const dark = !printing.matches && (chosen === null ? system.matches : chosen);
    root.dataset.theme = dark ? "dark" : "light";
    byId("theme").textContent = dark ? "Light theme" : "Dark theme";
    each(DRAWN, (plot) => Plotly.relayout(plot, colours(plot.layout)));
  };
  byId("theme").addEventListener("click", () => {
    chosen = root.dataset.theme !== "dark";
    setTheme();
  });
  system.addEventListener("change", setTheme);

  const colours = (layout) => {
    const style = getComputedStyle(root);
    const [ink, grid, paper, line] = ["--ink", "--grid", "--paper", "--line"].map((name) =>
      style.getPropertyValue(name).trim(),
    );
    const update = {
      "font.color": ink,
      "hoverlabel.bgcolor": paper,
      "hoverlabel.font.color": ink,
      "hoverlabel.bordercolor": line,
      "modebar.bgcolor": paper,
    };
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
      each("details.code", (code) => {
        code.open = open;
      });
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
      const kind =
        texts.every((text) => /^[-+−]?[\d,. ]*\d$/.test(text)) && texts.some((text) => !/^0\d/.test(text))
          ? "number"
          : texts.every((text) => text.length <= 18)
            ? "short"
            : null;
      if (kind) column.forEach((one) => one.classList.add(kind));
    }
  });

  // --- figures
  // A narrow page gets a figure that scrolls inside itself instead of one squeezed beyond reading.
  const widthOf = (place) => Math.max(place.clientWidth, Number(place.dataset.minWidth));
  const figureOf = (place) => JSON.parse(place.closest("figure").querySelector("script").textContent);

  const put = (layout, path, value) => {
    const keys = path.replace(/\[(\d+)\]/g, ".$1").split(".");
    const last = keys.pop();
    keys.reduce((inner, key) => {
      inner[key] = inner[key] || {};
      return inner[key];
    }, layout)[last] = value;
  };

  const draw = async (place) => {
    const {
      data,
      layout: { sliders = [], ...layout },
      frames,
    } = figureOf(place);
    Object.assign(layout, { width: widthOf(place), height: Number(place.dataset.height) });
    Object.entries(colours(layout)).forEach(([path, value]) => put(layout, path, value));
    await Plotly.newPlot(place, { data, layout, frames, config: uffdlabConfig });
    fit(place);
    const inputs = place.parentElement.querySelectorAll(":scope > .control input");
    sliders.forEach((slider, i) => connect(place, slider, inputs[i]));
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
  window.addEventListener("resize", () => each(DRAWN, fit));
  printing.addEventListener("change", () => {
    setTheme();
    each(DRAWN, fit);
  });

  const failed = (place, error) => {
    const note = document.createElement("p");
    note.className = "failed";
    note.textContent = `This figure could not be drawn: ${error.message}. Its data is in the button below.`;
    place.style.minHeight = 0;
    place.replaceChildren(note);
    place.parentElement.querySelectorAll(".control").forEach((control) => control.remove());
  };

  const drawAll = async () => {
    const places = [...document.querySelectorAll(PLOT)];
    if (globalThis.uffdlabPlotly instanceof Promise) {
      try {
        Plotly = await globalThis.uffdlabPlotly;
      } catch (error) {
        places.forEach((place) => failed(place, error));
      }
    }
    for (const place of Plotly ? places : []) {
      try {
        await draw(place);
      } catch (error) {
        failed(place, error);
      }
    }
    if (typeof uffdlabWidgets !== "undefined") await uffdlabWidgets.showAll();
    if (!Plotly && places.length) return;
    performance.mark("uffdlab-drawn");
    root.dataset.drawn = "true";
  };

  // --- data: what the figure draws now, after whatever was moved
  each(".csv[data-figure]", (button) =>
    button.addEventListener("click", () => {
      const place = button.closest("figure").querySelector(PLOT);
      const {
        data,
        layout: { meta },
      } = place.data ? place : figureOf(place);
      const page = document.title
        .split(" · ")[0]
        .replace(/[^A-Za-z0-9]+/g, "-")
        .toLowerCase();
      uffdlabCsv.save(data, meta?.units, `${page}-${place.id}`);
    }),
  );

  setTheme();
  drawAll();
})();
