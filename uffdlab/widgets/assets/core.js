// SPDX-License-Identifier: MIT
// The simulator in the page: sim.wasm, its memory, and the few calls that widgets make.

const simulator = async (model) => {
  globalThis.uffdlabSimulator ??= (async () => WebAssembly.compile(await held(model, "wasm")))();
  return new Simulator(await WebAssembly.instantiate(await globalThis.uffdlabSimulator, {}));
};

const MOST_SWEPT = 64;

class Simulator {
  constructor(instance) {
    this.c = instance.exports;
    this.top = (this.c.__heap_base.value + 15) & ~15;
    this.events = [];
    for (let at; (at = this.c.ul_event_name(this.events.length)) !== 0;) this.events.push(this.text(at));
    this.zeros = this.events.map(() => 0);
  }

  // Memory is taken for as long as the page lives: everything is taken once.
  take(bytes) {
    const at = this.top;
    this.top += (bytes + 15) & ~15;
    const missing = this.top - this.c.memory.buffer.byteLength;
    if (missing > 0) this.c.memory.grow(Math.ceil(missing / 65536));
    return at;
  }

  doubles(at, count) { return new Float64Array(this.c.memory.buffer, at, count); }

  text(at) {
    const bytes = new Uint8Array(this.c.memory.buffer, at);
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  }

  design(packed) {
    const at = this.take(4 * packed.length);
    new Int32Array(this.c.memory.buffer, at, packed.length).set(packed);
    return at;
  }

  problem(design) {
    const at = this.c.ul_design_problem(design);
    return at ? this.text(at) : null;
  }

  vector(values) {
    const at = this.take(8 * this.events.length);
    this.doubles(at, this.events.length).set(values);
    return at;
  }

  random({ populated, cluster, reads, writes }) {
    this.work ??= this.take(40);
    const view = new DataView(this.c.memory.buffer, this.work, 40);
    view.setFloat64(0, populated, true);
    view.setBigUint64(8, BigInt(cluster), true);
    view.setFloat64(16, reads, true);
    view.setFloat64(24, writes, true);
    view.setBigUint64(32, 0n, true);
    return this.work;
  }

  workProblem(design, pages, work) {
    const at = this.c.ul_work_problem(design, BigInt(pages), this.random(work));
    return at ? this.text(at) : null;
  }

  // Expected ledgers of protecting and touching, how many touches of each shape, and memory (see ul_expect).
  expect(design, pages, work) {
    this.shapes ??= this.c.ul_shapes();
    const [events, shapes] = [this.events.length, this.shapes];
    this.answer ??= [8 * events, 8 * events, 8 * shapes, 48].map((bytes) => this.take(bytes));
    const error = this.c.ul_expect(design, BigInt(pages), this.random(work), ...this.answer);
    if (error) return null;
    const [protect, touches, counts, memory] = [events, events, shapes, 6].map((n, i) => Array.from(this.doubles(this.answer[i], n)));
    return { protect, touches, counts, memory };
  }

  // All work for each of so many writes, priced by one vector, in one call (see ul_sweep).
  sweep(design, pages, work, writes, vector) {
    this.works ??= this.take(40 * MOST_SWEPT);
    this.swept ??= this.take(32 * MOST_SWEPT);
    const one = this.random(work);
    const memory = new Uint8Array(this.c.memory.buffer);
    writes.forEach((count, i) => {
      memory.copyWithin(this.works + 40 * i, one, one + 40);
      new DataView(this.c.memory.buffer, this.works + 40 * i, 40).setFloat64(24, count, true);
    });
    if (this.c.ul_sweep(design, BigInt(pages), this.works, BigInt(writes.length), vector, 1n, this.swept)) return null;
    const found = this.doubles(this.swept, 4 * writes.length);
    return writes.map((_, i) => found[4 * i + 2] + found[4 * i + 3]);
  }

  price(ledger, vector) {
    this.ledger ??= this.take(8 * this.events.length);
    this.doubles(this.ledger, this.events.length).set(ledger);
    return this.c.ul_price(this.ledger, vector);
  }

  shapeLedger(design, shape) {
    this.integers ??= this.take(8 * this.events.length);
    this.c.ul_shape_ledger(design, 0, shape, this.integers);
    return Array.from(new BigUint64Array(this.c.memory.buffer, this.integers, this.events.length), Number);
  }
}
