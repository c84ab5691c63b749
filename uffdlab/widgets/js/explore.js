// SPDX-License-Identifier: MIT
// Controls for a Python function: any value with a kernel, precomputed values in a page.

import { begin, change, choice, Drawing, make, shown, slider } from "./base.js";
import { sharing } from "./views.js";

const nearest = (values, wanted) =>
  values.reduce((best, value, i) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? i : best), 0);

// The figures of a page are the first one with some values replaced.
const patched = (first, patch) => {
  const figure = structuredClone(first);
  patch.forEach(([path, value]) => {
    const last = path[path.length - 1];
    path.slice(0, -1).reduce((at, key) => at[key], figure)[last] = value;
  });
  return figure;
};

const shownValue = (axis, value) => {
  if (axis.kind === "choice") return String(value);
  const text = shown(axis, value);
  return axis.unit ? `${text} ${axis.unit}` : text;
};

const control = (model, axis, baked) => {
  const state = () => model.get("state");
  const act = (value) => change(model, { [axis.name]: value });
  if (axis.kind === "choice")
    return choice({
      label: axis.label,
      values: axis.values.map((word) => [word, word]),
      value: state()[axis.name],
      act,
    });
  if (baked) {
    const grid = axis.grid;
    const made = slider({
      label: axis.label,
      min: 0,
      max: grid.length - 1,
      step: 1,
      value: nearest(grid, state()[axis.name]),
      show: (i) => shownValue(axis, grid[i]),
      act: (i) => act(grid[i]),
    });
    return { ...made, set: (value) => made.set(nearest(grid, value)) };
  }
  const [to, from] = axis.log ? [Math.log2, (x) => 2 ** x] : [(x) => x, (x) => x];
  // The step of the input must not leave the range.
  const value = (x) => Math.min(axis.max, Math.max(axis.min, axis.whole ? Math.round(from(x)) : from(x)));
  const made = slider({
    label: axis.label,
    min: to(axis.min),
    max: to(axis.max),
    step: axis.log ? "any" : axis.step || "any",
    value: to(state()[axis.name]),
    show: (x) => shownValue(axis, value(x)),
    act: (x) => act(value(x)),
  });
  return { ...made, set: (now) => made.set(to(now)) };
};

const render = async ({ model, el }) => {
  const axes = model.get("axes");
  const baked = model.get("baked");
  const key = (state) =>
    axes
      .map((axis) =>
        axis.kind === "choice" ? axis.values.indexOf(state[axis.name]) : nearest(axis.grid, state[axis.name]),
      )
      .join(",");
  const current = () => {
    if (!baked) return model.get("figure");
    const patch = baked.patches[key(model.get("state"))];
    return typeof patch === "string" ? patch : patched(baked.first, patch);
  };
  const wrong = make("p", { class: "failed", role: "alert", hidden: true });
  const drawing = new Drawing(
    model,
    () => {
      const found = current();
      const problem = typeof found === "string" ? found : !baked && model.get("wrong");
      wrong.hidden = !problem;
      wrong.textContent = problem || "";
      return problem ? null : found;
    },
    model.get("title") || "figure",
  );
  const controls = axes.map((axis) => [axis.name, control(model, axis, baked)]);
  const counted = axes
    .filter((axis) => axis.kind !== "choice")
    .map((axis) => `${axis.grid.length} values of ${axis.label}`);
  const values = counted.join(", ");
  const note =
    baked && counted.length
      ? make(
          "p",
          { class: "ul-note" },
          `This page has precomputed figures, and sliders snap to them: ${values}. A live notebook draws any value.`,
        )
      : null;
  const remark = (state) =>
    baked && axes.some((axis) => axis.kind !== "choice" && !axis.grid.includes(state[axis.name]))
      ? " It is shown at the nearest precomputed value."
      : "";
  const sync = () => controls.forEach(([name, made]) => made.set(model.get("state")[name]));
  model.on("change:state", () => {
    sync();
    if (baked) drawing.draw();
  });
  model.on("change:figure", () => drawing.draw());
  model.on("change:wrong", () => drawing.draw());
  begin(el);
  el.append(
    make("div", { class: "ul-controls" }, ...controls.map(([, made]) => made.element)),
    wrong,
    drawing.element,
    ...[note, sharing(model, { remark })].filter(Boolean),
  );
  await drawing.start();
};

export default { render };
