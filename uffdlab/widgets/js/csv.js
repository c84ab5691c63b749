// SPDX-License-Identifier: MIT
// The data of a figure as CSV: one row per point of each visible series.
const cell = (value) => {
  const text = value === undefined || value === null ? "" : String(value);
  // A leading = + - @ would be a formula to a spreadsheet.
  const safe = /^[=+@]|^-(?![\d.])/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
const TYPES = {
  i1: Int8Array,
  u1: Uint8Array,
  i2: Int16Array,
  u2: Uint16Array,
  i4: Int32Array,
  u4: Uint32Array,
  f4: Float32Array,
  f8: Float64Array,
};
// Python packs the arrays of numpy.
const list = (values) => {
  if (!values?.bdata) return values || [];
  return Array.from(new TYPES[values.dtype](Uint8Array.from(atob(values.bdata), (c) => c.charCodeAt(0)).buffer));
};
const text = (traces, units = {}) => {
  const rows = [
    ["series", "label", "x", "x_minus", "x_plus", "x_unit", "y", "y_minus", "y_plus", "y_unit", "note", "z"],
  ];
  traces
    .filter((trace) => trace.visible !== false && trace.visible !== "legendonly")
    .forEach((trace) => {
      const [xs, ys, notes, labels] = [trace.x, trace.y, trace.text, trace.customdata].map(list);
      const bars = [trace.error_x, trace.error_y].map((bar) => ["arrayminus", "array"].map((end) => list(bar?.[end])));
      const at = (values, i) => (typeof values === "string" ? values : values[i]);
      const [xUnit, yUnit] = [units[trace.xaxis || "x"], units[trace.yaxis || "y"]];
      const row = (label, i, j, ...more) => {
        const [x, y] = [[xs, ...bars[0]].map((of) => of[i]), [ys, ...bars[1]].map((of) => of[j])];
        rows.push([trace.name, label, ...x, xUnit, ...y, yUnit, ...more]);
      };
      // A map has a number per cell.
      if (trace.z) trace.z.forEach((cells, j) => list(cells).forEach((z, i) => row(undefined, i, j, undefined, z)));
      else for (let i = 0; i < Math.max(xs.length, ys.length); i += 1) row(at(labels, i), i, i, at(notes, i));
    });
  return `${rows.map((row) => row.map(cell).join(",")).join("\n")}\n`;
};
export const save = (traces, units, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text(traces, units)], { type: "text/csv" }));
  link.download = `${name}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
};
