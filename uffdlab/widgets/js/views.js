// SPDX-License-Identifier: MIT
// Views as text: the state of a widget, to restore it in another page or notebook. Parses and checks them as
// uffdlab/widgets/views.py does, since a page has no Python; tests/widgets/test_widgets_views.py holds the two
// together. Python sends rules and sentences with each widget.

import { button, make } from "./base.js";

// The beginning of a text, without control characters, bidirectional ones among them.
const calmOf = (text) =>
  [...text]
    .slice(0, 40)
    .join("")
    .replace(/\p{C}|(?! )\p{Z}/gu, "\ufffd");

const viewText = ({ site, kind }, state) => {
  const bytes = new TextEncoder().encode(JSON.stringify(state));
  const packed = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return `${site}:${kind}:${packed.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
};
const viewOf = (texts, text) => {
  const whole = text.length > texts.longest ? "" : text.replace(/[\r\n]/g, "").trim();
  const [site, found, ...rest] = whole.split(":");
  const packed = rest.join(":");
  const refuse = (sentence, value) => {
    throw new Error(sentence.replace("{value}", () => value));
  };
  if (site !== texts.site || !packed) refuse(texts.none, whole ? `'${calmOf(whole)}'` : "this");
  if (found !== texts.kind) refuse(texts.other.replace("{kind}", texts.kind), calmOf(found));
  if (!/^[A-Za-z0-9_-]+$/.test(packed)) refuse(texts.damaged);
  let state;
  try {
    const bytes = Uint8Array.from(atob(packed.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const json = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    state = JSON.parse(json, (_, value) => {
      if (typeof value === "number" && !Number.isFinite(value)) throw value;
      return value === 0 ? 0 : value; // no zero below zero
    });
  } catch {
    refuse(texts.damaged);
  }
  if (!isOf("object", state)) refuse(texts.damaged);
  return state;
};

// --- rules: null for a valid value, or the innermost sentence

const isOf = (kind, value) =>
  ({
    object: typeof value === "object" && value !== null && !Array.isArray(value),
    array: Array.isArray(value),
    string: typeof value === "string",
    number: Number.isFinite(value),
  })[kind];
const shownValueOf = (value) => {
  if (isOf("object", value)) return Object.keys(value).map(calmOf).sort().slice(0, 20).join(", ") || "nothing";
  if (isOf("array", value)) return `a list of ${value.length}`;
  return isOf("string", value) ? `'${calmOf(value)}'` : String(value);
};
const firstOf = (pairs) => {
  for (const [rules, value] of pairs) {
    const found = faultOf(rules, value);
    if (found !== null) return found;
  }
  return null;
};
const ofType = (kind, keeps) => (rule, value) => (!isOf(kind, value) || keeps(rule, value) ? null : "");
const KEYWORDS = {
  type: (rule, value) => (isOf(rule, value) ? null : ""),
  enum: (rule, value) => (rule.includes(value) ? null : ""),
  allOf: (rule, value) => firstOf(rule.map((inner) => [inner, value])),
  not: (rule, value) => (faultOf(rule, value) === null ? "" : null),
  minimum: ofType("number", (rule, value) => value >= rule),
  maximum: ofType("number", (rule, value) => value <= rule),
  multipleOf: ofType("number", (rule, value) => value % rule === 0),
  minItems: ofType("array", (rule, value) => value.length >= rule),
  maxItems: ofType("array", (rule, value) => value.length <= rule),
  items: (rule, value) =>
    isOf("array", value) ? firstOf(value.map((item, i) => [isOf("array", rule) ? rule[i] : rule, item])) : null,
  required: ofType("object", (rule, value) => rule.every((name) => Object.hasOwn(value, name))),
  // In the order of `required`: a page's fields are in that of the alphabet.
  properties: (rule, value, { required }) =>
    isOf("object", value)
      ? firstOf(required.filter((name) => Object.hasOwn(value, name)).map((name) => [rule[name], value[name]]))
      : null,
  additionalProperties: (_, value, { properties }) =>
    Object.keys(value).every((name) => Object.hasOwn(properties, name)) ? null : "",
  contains: ofType("array", (rule, value) => value.some((item) => faultOf(rule, item) === null)),
};
function faultOf(rules, value) {
  for (const keyword of Object.keys(KEYWORDS)) {
    const found = Object.hasOwn(rules, keyword) ? KEYWORDS[keyword](rules[keyword], value, rules) : null;
    if (found !== null) return found || (rules.wrong || "").replaceAll("{value}", () => shownValueOf(value));
  }
  return null;
}
// --- copying and restoring

// `besides` returns the problem of a state that the rules allow, or null; `remark` a note on a restored view.
export const sharing = (model, { besides = () => null, remark = () => "" } = {}) => {
  const shown = make("input", { type: "text", readonly: true, "aria-label": "This view as text" });
  const given = make("input", {
    type: "text",
    "aria-label": "A view to restore",
    placeholder: "uffdlab:…",
    autocomplete: "off",
    spellcheck: "false",
  });
  const status = make("span", { role: "status" });
  const refresh = () => {
    shown.value = viewText(model.get("texts"), model.get("state"));
  };
  const copy = async () => {
    shown.select();
    try {
      await navigator.clipboard.writeText(shown.value);
      status.textContent = "Copied.";
    } catch {
      status.textContent = document.execCommand("copy") ? "Copied." : "Selected: copy it with the keyboard.";
    }
  };
  const restore = () => {
    try {
      const state = viewOf(model.get("texts"), given.value);
      const wrong = faultOf(model.get("rules"), state) || besides(state);
      if (wrong) throw new Error(wrong);
      model.set("state", state);
      model.save_changes();
      status.textContent = `Restored.${remark(state)}`;
    } catch (error) {
      status.textContent = error.message;
    }
  };
  model.on("change:state", refresh);
  refresh();
  return make(
    "details",
    { class: "ul-view" },
    make("summary", {}, "Copy or restore this view"),
    make("div", {}, shown, button("Copy this view", copy)),
    make("div", {}, given, button("Restore", restore)),
    status,
  );
};
