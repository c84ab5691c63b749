// SPDX-License-Identifier: MIT
// Bundles what widgets and pages ship, into a directory: an ES module for each widget, and what pages save as a script.

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const shared = {
  absWorkingDir: fileURLToPath(new URL(".", import.meta.url)),
  outdir: resolve(process.argv[2]),
  bundle: true,
  minify: true,
  charset: "utf8",
  target: "es2022",
  banner: { js: "// SPDX-License-Identifier: MIT\n// Bundled from widgets/js: make widgets" },
};
const widgets = ["explore", "design_explorer", "page_table_view"];
await build({ ...shared, format: "esm", entryPoints: widgets.map((name) => `${name}.js`) });
await build({ ...shared, format: "iife", globalName: "uffdlabCsv", entryPoints: ["csv.js"] });
