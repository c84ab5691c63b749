// SPDX-License-Identifier: MIT
// The simulator in the page: sim.wasm, its memory and its calls. Structures are those of sim.cdef.h.

import { held } from "./base.js";

export const simulator = async (model) => {
  globalThis.uffdlabSimulator ??= (async () => WebAssembly.compile(await held(model, "wasm")))();
  return new Simulator(await WebAssembly.instantiate(await globalThis.uffdlabSimulator, {}));
};

// A value with its interval, from three doubles; NaN (no interval) becomes null.
const estimateOf = (doubles) => {
  const [value, low, high] = Array.from(doubles, (number) => (Number.isNaN(number) ? null : number));
  return { value, low, high };
};

const LATENCY = 7; // doubles of struct ul_latency
const STANDING = 6; // of struct ul_standing
const MOST_DESIGNS = 4;

class Simulator {
  constructor(instance) {
    this.c = instance.exports;
    this.top = (this.c.__heap_base.value + 15) & ~15;
    this.events = [];
    for (let at = this.c.ul_event_name(0); at; at = this.c.ul_event_name(this.events.length)) {
      this.events.push(this.text(at));
    }
    const [events, shapes] = [8 * this.events.length, 8 * this.c.ul_shapes()];
    this.work = this.take(40);
    this.found = this.take(64);
    this.ledgers = [this.take(events), this.take(events)];
    this.expected = [events, events, shapes, 48].map((bytes) => this.take(bytes));
    this.latencies = this.take(8 * LATENCY * 512);
    this.weights = this.take(32);
    this.standings = this.take(8 * STANDING * MOST_DESIGNS);
  }

  // Allocate memory; it is never freed.
  take(bytes) {
    const at = this.top;
    this.top += (bytes + 15) & ~15;
    const missing = this.top - this.c.memory.buffer.byteLength;
    if (missing > 0) this.c.memory.grow(Math.ceil(missing / 65536));
    return at;
  }

  doubles(at, count) {
    return new Float64Array(this.c.memory.buffer, at, count);
  }

  integers(at, count) {
    return new Int32Array(this.c.memory.buffer, at, count);
  }

  // Read a string of the core; null for a null pointer.
  text(at) {
    if (!at) return null;
    const bytes = new Uint8Array(this.c.memory.buffer, at);
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  }

  // Store designs one after another, as an array of the core.
  designs(packed) {
    const numbers = packed.flat();
    const at = this.take(4 * numbers.length);
    this.integers(at, numbers.length).set(numbers);
    return at;
  }

  problem(design) {
    return this.text(this.c.ul_design_problem(design));
  }

  // Arguments for intervals of prices, and of ratios: address of the costs and of the draws after them, number of
  // draws, error of predictions, scratch memory.
  costs(vector, draws, error, errorOfRatios) {
    const at = this.take(8 * (vector.length + draws.length));
    this.doubles(at, vector.length).set(vector);
    this.doubles(at + 8 * vector.length, draws.length).set(draws);
    const count = draws.length / vector.length;
    const room = this.take(16 * (1 + count));
    const [price, ratio] = [error, errorOfRatios].map((widens) => [at, BigInt(count), widens ?? -1, room]);
    return { price, ratio };
  }

  random({ populated, cluster, reads, writes }) {
    const view = new DataView(this.c.memory.buffer, this.work, 40);
    view.setFloat64(0, populated, true);
    view.setBigUint64(8, BigInt(cluster), true);
    view.setFloat64(16, reads, true);
    view.setFloat64(24, writes, true);
    view.setBigUint64(32, 0n, true);
    return this.work;
  }

  // The first sentence is that of uffdlab/sim/workloads.py: tests/widgets/test_widgets_pages.py holds it to that.
  workProblem(design, work) {
    const pages = work.span / 4096;
    if (work.cluster > pages) return `clusters of ${work.cluster} pages do not fit a range of ${pages}`;
    return this.text(this.c.ul_work_problem(design, BigInt(pages), this.random(work)));
  }

  // Ledgers of protecting and of all work, memory, and latencies of writes that fault (see ul_latencies).
  expect(design, work, costs) {
    this.c.ul_expect(design, BigInt(work.span / 4096), this.random(work), ...this.expected);
    const [protect, touches, , memory] = this.expected.map((at, i) =>
      Array.from(this.doubles(at, i === 3 ? 6 : this.events.length)),
    );
    const count = this.c.ul_latencies(design, 0, this.expected[2], ...costs.price, this.latencies);
    const writes = Array.from({ length: count }, (_, i) => {
      const [counted, share, slower, ...cost] = this.doubles(this.latencies + 8 * LATENCY * i, 6);
      const [code] = this.integers(this.latencies + 8 * (LATENCY * i + 6), 1);
      return { count: counted, share, slower, code, cost: estimateOf(cost) };
    });
    const tail = writes[this.c.ul_tail(this.latencies, count)] ?? null;
    return { protect, total: protect.map((counted, i) => counted + touches[i]), memory, writes, tail };
  }

  price(ledger, costs) {
    this.doubles(this.ledgers[0], ledger.length).set(ledger);
    this.c.ul_estimate(this.ledgers[0], ...costs.price, this.found);
    return estimateOf(this.doubles(this.found, 3));
  }

  // The cheapest of `count` designs (see ul_decide): null where undecided.
  decide(designs, count, work, objective, weights, costs) {
    this.doubles(this.weights, weights.length).set(weights);
    const point = [designs, BigInt(count), BigInt(work.span / 4096), this.random(work), objective, this.weights];
    const refused = this.c.ul_decide(...point, ...costs.ratio, this.standings, this.found);
    const [best, second, ties, clear] = this.integers(this.found + 32, 4);
    if (refused || best < 0) return null;
    const standings = Array.from({ length: count }, (_, i) => {
      const [tail, tied] = this.integers(this.standings + 8 * (STANDING * i + 5), 2);
      const [stop, all, added, slowest] = this.doubles(this.standings + 8 * STANDING * i, 4);
      return { stop, work: all, added, slowest: tail < 0 ? null : slowest, tied: Boolean(tied) };
    });
    const ratio = estimateOf(this.doubles(this.found + 8, 3));
    return { best, second, tie: ties > 1, clear: Boolean(clear), ratio, standings };
  }

  // The numbers of later writes for which a design takes more work than another (see ul_break_even); null for none.
  breakEven(designs, count, design, work, costs) {
    const point = [designs, BigInt(count), BigInt(design), BigInt(work.span / 4096), this.random(work)];
    const refused = this.c.ul_break_even(...point, ...costs.ratio, this.found);
    const [from, to] = this.doubles(this.found, 2);
    const [other, decided] = this.integers(this.found + 24, 2);
    if (refused || other < 0) return null;
    return { from: from && 2 ** from, to: Number.isNaN(to) ? null : 2 ** to, other, decided: Boolean(decided) };
  }
}
