// SPDX-License-Identifier: MIT
// The drawing library, unpacked and started while the rest of the page is still being read.
"use strict";
const uffdlabBytes = (text) => {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
};
globalThis.uffdlabPlotly = (async () => {
  const packed = uffdlabBytes(document.getElementById("plotly").textContent);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const source = new Blob([await new Response(stream).arrayBuffer()], { type: "text/javascript" });
  await new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.onload = resolve;
    script.onerror = () => reject(new Error("the drawing library in this page could not be started"));
    script.src = URL.createObjectURL(source);
    document.head.append(script);
  });
  return globalThis.Plotly;
})();
globalThis.uffdlabPlotly.catch(() => {}); // who waits for it says what went wrong
