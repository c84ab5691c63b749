// SPDX-License-Identifier: MIT
// What a notebook's front end is to a widget, as far as a page without a kernel can be it: models, and where they show.
"use strict";
const uffdlabWidgets = (() => {
  // The page's own data stand right before this script. An id is no proof: a heading of a notebook may have the same.
  const stored = new Map();
  for (
    let at = document.currentScript.previousElementSibling;
    at?.matches("script[id]");
    at = at.previousElementSibling
  ) {
    stored.set(at.id, at.textContent);
  }
  const { models = {}, modules = {} } = JSON.parse(stored.get("widgets") || "{}");
  const imported = new Map();
  const made = new Map();

  // Each module once, however many widgets are made of it.
  const moduleOf = (name) => {
    if (!imported.has(name))
      imported.set(name, import(URL.createObjectURL(new Blob([modules[name]], { type: "text/javascript" }))));
    return imported.get(name);
  };

  Object.keys(modules).forEach(moduleOf); // while plotly is still being unpacked

  const library = { get: (name) => new DataView(uffdlabBytes(stored.get(name)).buffer) };

  class Model {
    constructor({ state, buffers }) {
      this.state = structuredClone(state);
      (buffers || []).forEach(({ path, data }) => {
        this.state[path[0]] = new DataView(uffdlabBytes(data).buffer);
      });
      this.heard = new Map();
      this.changed = new Set();
      this.widget_manager = { get_model: async (id) => (id === "library" ? library : modelOf(id)) };
    }

    get(name) {
      return this.state[name];
    }

    set(name, value) {
      if (JSON.stringify(this.state[name]) === JSON.stringify(value)) return;
      this.state[name] = value;
      this.changed.add(name);
    }

    // Nobody is there to be told but the widget itself.
    save_changes() {
      const names = [...this.changed];
      this.changed.clear();
      names.forEach((name) => (this.heard.get(`change:${name}`) || []).forEach((act) => act(this, this.state[name])));
    }

    on(name, act) {
      this.heard.set(name, [...(this.heard.get(name) || []), act]);
    }

    off(name) {
      this.heard.delete(name);
    }

    send() {}
  }

  const modelOf = (id) => {
    if (!made.has(id)) made.set(id, new Model(models[id]));
    return made.get(id);
  };

  const show = async (id, place) => {
    const { name, module, state } = models[id];
    if (module) {
      const { default: widget } = await moduleOf(module);
      const model = modelOf(id);
      await widget.initialize?.({ model });
      await widget.render({ model, el: place });
      return;
    }
    if (name === "HTMLModel" || name === "LabelModel") {
      // What is shown as HTML is what the notebook's author wrote as HTML, without what acts; a label is text.
      if (name === "HTMLModel") place.innerHTML = state.value;
      else place.textContent = state.value;
      return;
    }
    place.classList.add(name === "HBoxModel" ? "hbox" : "vbox");
    for (const child of state.children) {
      const inner = document.createElement("div");
      place.append(inner);
      await show(child, inner);
    }
  };

  const showAll = async () => {
    for (const place of document.querySelectorAll(".widget[data-model]")) {
      try {
        await show(place.dataset.model, place);
      } catch (error) {
        const note = document.createElement("p");
        note.className = "failed";
        note.textContent = `This widget could not be shown: ${error.message}.`;
        place.replaceChildren(note);
      }
    }
  };
  return { showAll, modelOf };
})();
