// SPDX-License-Identifier: MIT
// What designs make of a point, computed by the simulator, and the sentences that say so.

import { formatCount, formatNs, formatRatio, formatSize } from "./base.js";

export const said = ({ value, low, high }) =>
  formatNs(value) + (low === null ? "" : ` (${formatNs(low)} to ${formatNs(high)})`);

export const judge = (sim, costs, design, state) => {
  const found = sim.expect(design.at, state, costs.given);
  const [tables, pages, , , tablesAfter, pagesAfter] = found.memory.map((one) => 4 * one);
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
    .map((one) => one.title)
    .sort()
    .join(" and ");

// Who has least, and by how much less than the first that has not as little.
const told = ({ standings, second, clear, ratio }, judged, of, what) => {
  const equal = judged.filter((_, i) => standings[i].tied);
  const names = together(equal.map((one) => one.design));
  if (equal.length === judged.length) return `${what}: the same with ${names}.`;
  const { title } = judged[second].design;
  if (ratio.value === null) return `${what}: nothing with ${names}; ${said(of(judged[second]))} with ${title}.`;
  const band = ratio.low === null ? "" : ` (${formatRatio(ratio.low)} to ${formatRatio(ratio.high)})`;
  const least = `${equal.length > 1 ? "the same" : "least"} with ${names}${clear ? "" : ", though nothing is decided"}`;
  return `${what}: ${least}; ${formatRatio(ratio.value)} times as long with ${title}${band}.`;
};

const breakEven = (designs, quickest, found) => {
  const { title } = designs[quickest];
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

// What decides nothing about time and everything about use: writes that nobody is told of.
const losses = (sim, judged) => {
  const at = sim.events.indexOf("lost_writes");
  const losing = judged.filter((one) => one.total[at] >= 0.5);
  return losing.map(
    (one) => `With ${one.design.title} ${formatCount(one.total[at])} writes are lost: nobody is told of them.`,
  );
};

// `ordered`: the designs by name, as the simulator takes them, and what was judged of each.
export const verdictOf = (sim, costs, { at, designs }, judged, state) => {
  if (designs.length < 2) return "Choose a second design to compare with.";
  const ordered = designs.map((design) => judged.find((one) => one.design.name === design.name));
  const [stop, work] = [0, 1].map((objective) => sim.decide(at, designs.length, state, objective, [], costs.given));
  // Of those that stop equally fast the one with less work is the quickest.
  const tied = designs.map((_, i) => i).filter((i) => stop.standings[i].tied);
  const quickest = tied.reduce((best, i) => (stop.standings[i].work < stop.standings[best].work ? i : best));
  return [
    ...losses(sim, judged),
    told(stop, ordered, (one) => one.stop, "Stop time"),
    told(work, ordered, (one) => one.work, "All work"),
    breakEven(designs, quickest, sim.breakEven(at, designs.length, quickest, state, costs.given)),
  ].join(" ");
};

// The next one, against the cheapest. What one has none of is no ratio.
export const against = ({ designs, best, second, standings, clear, ratio }, objective) => {
  const [first, next] = [standings[best], standings[second]];
  const { title } = designs[second];
  if (next.tied) return "no other is compared";
  if (objective === "memory" && first.added <= 0) {
    return `nothing is added, and ${formatSize(next.added * 1024)} with ${title}`;
  }
  if (objective === "tail latency" && first.slowest === null) {
    return `no later write asks the kernel, and with ${title} the slowest 1 % take ${formatNs(next.slowest)}`;
  }
  if (ratio.value === null) return `nothing here, and more with ${title}`;
  return `${formatRatio(ratio.value)} times as much with ${title}${clear ? "" : ", and nothing is decided"}`;
};

// The cell where the controls stand, in words: what a pointer held over it would say.
export const hereSaid = (cell, objective) => {
  if (!cell) return "Where the controls stand nothing can be compared.";
  const names = together(cell.ties);
  const least = cell.tie ? `a tie, ${names} are equally cheap` : `cheapest with ${names}`;
  return `Where the controls stand: ${least}; ${against(cell, objective)}.`;
};
