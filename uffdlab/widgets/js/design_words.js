// SPDX-License-Identifier: MIT
// Predictions of designs at a point, computed by the simulator, and their sentences.

import { formatCount, formatNs, formatRatio, formatSize } from "./base.js";

export const withInterval = ({ value, low, high }) =>
  formatNs(value) + (low === null ? "" : ` (${formatNs(low)} to ${formatNs(high)})`);

export const judge = (sim, costs, design, state) => {
  const found = sim.expect(design.at, state, costs.given);
  const [tables, pages, , , tablesAfter, pagesAfter] = found.memory.map((count) => 4 * count);
  return {
    ...found,
    design,
    stop: sim.price(found.protect, costs.given),
    work: sim.price(found.total, costs.given),
    tables: tablesAfter,
    added: tablesAfter - tables + (pagesAfter - pages),
  };
};

export const together = (designs) =>
  designs
    .map((design) => design.title)
    .sort()
    .join(" and ");

// The design with the least, and its ratio to the first design that has more.
const comparison = ({ standings, second, clear, ratio }, judged, of, what) => {
  const equal = judged.filter((_, i) => standings[i].tied);
  const names = together(equal.map((result) => result.design));
  if (equal.length === judged.length) return `${what}: the same with ${names}.`;
  const { title } = judged[second].design;
  if (ratio.value === null) return `${what}: nothing with ${names}; ${withInterval(of(judged[second]))} with ${title}.`;
  const band = ratio.low === null ? "" : ` (${formatRatio(ratio.low)} to ${formatRatio(ratio.high)})`;
  const least = `${equal.length > 1 ? "the same" : "least"} with ${names}${clear ? "" : ", though nothing is decided"}`;
  return `${what}: ${least}; ${formatRatio(ratio.value)} times as long with ${title}${band}.`;
};

const breakEven = (designs, best, found) => {
  const { title } = designs[best];
  if (!found) return `However much is written afterwards, all work is never more with ${title}.`;
  const [from, to] = [found.from, found.to].map((count) => (count === null ? null : formatCount(count)));
  const open = found.decided ? "" : ", though nothing is decided";
  const more = `all work is more with ${title} than with ${designs[found.other].title}${open}`;
  if (!found.from)
    return to ? `For up to ${to} later writes, ${more}.` : `However much is written afterwards, ${more}.`;
  return to
    ? `Break-even: from ${from} to ${to} later writes, ${more}.`
    : `Break-even: from ${from} later writes on, ${more}.`;
};

// Writes that raise no event; less than half of one on average is shown as 0.
const losses = (sim, judged) => {
  const at = sim.events.indexOf("lost_writes");
  const losing = judged.filter((result) => Math.round(result.total[at]));
  return losing.map(
    (result) => `With ${result.design.title} ${formatCount(result.total[at])} writes are lost: no event is raised.`,
  );
};

// The designs by name, in the order in which the simulator takes them, and the prediction of each.
export const verdictOf = (sim, costs, { at, designs }, judged, state) => {
  if (designs.length < 2) return "Choose a second design to compare with.";
  const ordered = designs.map((design) => judged.find((result) => result.design.name === design.name));
  const [stop, work] = [0, 1].map((objective) => sim.decide(at, designs.length, state, objective, [], costs.given));
  const { best } = stop; // of a tie the first by name, as in uffdlab/sim/decision.py
  return [
    ...losses(sim, judged),
    comparison(stop, ordered, (result) => result.stop, "Stop time"),
    comparison(work, ordered, (result) => result.work, "All work"),
    breakEven(designs, best, sim.breakEven(at, designs.length, best, state, costs.given)),
  ].join(" ");
};

// The second design against the cheapest; a cost of nothing has no ratio.
export const against = ({ designs, best, second, standings, clear, ratio }, objective) => {
  const [first, next] = [standings[best], standings[second]];
  const { title } = designs[second];
  if (next.tied) return "no other design is compared";
  if (objective === "memory" && first.added <= 0) {
    return `nothing is added, and ${formatSize(next.added * 1024)} with ${title}`;
  }
  if (objective === "tail latency" && first.slowest === null) {
    return `no later write faults, and with ${title} the slowest 1 % take ${formatNs(next.slowest)}`;
  }
  if (ratio.value === null) return `nothing here, and more with ${title}`;
  return `${formatRatio(ratio.value)} times as much with ${title}${clear ? "" : ", and nothing is decided"}`;
};

// The cell at the controls as a sentence, as its tooltip has it.
export const hereSentence = (cell, objective) => {
  if (!cell) return "Where the controls stand nothing can be compared.";
  const names = together(cell.ties);
  const least = cell.tie ? `a tie, ${names} are equally cheap` : `cheapest with ${names}`;
  return `Where the controls stand: ${least}; ${against(cell, objective)}.`;
};
