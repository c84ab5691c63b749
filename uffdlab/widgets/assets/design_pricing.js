// SPDX-License-Identifier: MIT
// What designs count and cost, computed in the page as uffdlab.sim computes it.

// As uffdlab.sim.Costs.spread has it: ends of 95 % of the draws, widened by the error of unseen predictions.
const spread = (costs, value, drawn, weight = 1) => {
  if (!drawn.length) return { value, low: null, high: null };
  const sorted = Float64Array.from(drawn).sort();
  const end = (at) => sorted[Math.min(sorted.length - 1, Math.floor(at * sorted.length))];
  const widened = weight === 1 ? 1 + costs.p95_error : (1 + costs.p95_error) ** weight;
  return { value, low: Math.min(end(costs.low), value) / widened, high: Math.max(end(costs.high), value) * widened };
};

class Pricing {
  constructor(sim, model) {
    this.sim = sim;
    this.costs = model.get("costs").map((costs) => ({ ...costs, at: sim.vector(costs.vector) }));
    const packed = model.get("draws");
    const all = new Float64Array(packed.buffer.slice(packed.byteOffset, packed.byteOffset + packed.byteLength));
    const width = sim.events.length;
    const drawn = [];
    for (let i = 0; i < all.length; i += width) drawn.push(sim.vector(all.subarray(i, i + width)));
    this.costs.forEach((costs) => { if (costs.drawn_from && costs.p95_error !== null) costs.draws = drawn; else costs.draws = []; });
    this.shapePrices = new Map();
  }

  of(costs, ledger) {
    return spread(costs, this.sim.price(ledger, costs.at), costs.draws.map((one) => this.sim.price(ledger, one)));
  }

  // To first order, how far a ratio is off where each price is: as uffdlab.sim.Costs.apart.
  ratio(costs, top, bottom) {
    const price = (ledger) => this.sim.price(ledger, costs.at);
    const [over, under, shared] = [price(top), price(bottom), price(top.map((count, i) => Math.min(count, bottom[i])))];
    const below = costs.draws.map((one) => this.sim.price(bottom, one));
    if (!(Math.min(under, ...below) > 0)) return { value: null, low: null, high: null }; // a ratio to nothing has no value
    const apart = over > 0 ? Math.hypot(shared / over - shared / under, 1 - shared / over, 1 - shared / under) : Math.SQRT2;
    const drawn = costs.draws.map((one, i) => this.sim.price(top, one) / below[i]);
    return spread(costs, over / under, drawn, apart);
  }

  // Touches of a shape are alike, whatever the work: their price is looked up.
  shape(costs, design, code) {
    const key = `${costs.name}|${design.key}|${code}`;
    if (!this.shapePrices.has(key)) this.shapePrices.set(key, this.of(costs, this.sim.shapeLedger(design.at, code)));
    return this.shapePrices.get(key);
  }
}

// A write that finds its page asks nothing of the kernel: as uffdlab.sim.sweeps has it.
const asks = (code) => (code & 1) !== 0 && ((code >> 1 & 3) !== 3 || (code & 8) !== 0);
const LEVEL = ["PTE", "PMD", "PUD"];
const KIND = ["an empty entry", "a marker", "a zeropage", "a protected page"];

const latencies = (pricing, costs, design, counts) => {
  const found = [];
  counts.forEach((count, code) => { if (count > 0 && asks(code)) found.push({ code, count, cost: pricing.shape(costs, design, code) }); });
  found.sort((a, b) => a.cost.value - b.cost.value);
  const everything = found.reduce((sum, one) => sum + one.count, 0);
  let slower = 1;
  return found.map((one) => {
    const share = one.count / everything;
    const row = { ...one, share, slower };
    slower -= share;
    return row;
  });
};
// The slowest 1 %: the first shape of which so few are slower.
const tail = (rows) => {
  const last = [...rows].reverse().find((row) => row.slower >= 0.01);
  return last || null;
};

const added = (memory) => 4 * ((memory[4] - memory[0]) + (memory[5] - memory[1]));

const judge = (pricing, costs, design, state) => {
  const found = pricing.sim.expect(design.at, state.span / 4096, state);
  const total = found.protect.map((count, i) => count + found.touches[i]);
  const writes = latencies(pricing, costs, design, found.counts);
  return {
    design, ...found, total, writes,
    stop: pricing.of(costs, found.protect), work: pricing.of(costs, total), tail: tail(writes),
    tables: 4 * found.memory[4], pages: 4 * found.memory[5], added: added(found.memory),
  };
};

// --- designs

const chosen = (sim, model, cache, state) => {
  const named = Object.fromEntries(model.get("designs").map((one) => [one.name, one]));
  return [...new Set(state.designs.filter(Boolean))].map((name) => {
    const record = name === "composed" ? { name, title: "composed", colour: "#777777", symbol: "x", dash: "dot", glyph: "✕", packed: composed(model, state) } : named[name];
    const key = record.packed.join(",");
    if (!cache.has(key)) cache.set(key, sim.design(record.packed));
    return { ...record, key, at: cache.get(key) };
  });
};
const composed = (model, state) => model.get("fields").map(({ name, values }) => values.indexOf(state.composed[name]));
