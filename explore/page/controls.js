// The controls of a tab: real inputs with labels, over the values that the tab names.

import { indexed, short } from "./formats.js";

/**
 * Fills a form with the controls of a tab. `settings` is their state, which the controls change; `changed(moving)` is
 * called when they have. `limits`, of a stored page, names the values that a control may have: others are fixed.
 */
export function controls(form, tab, settings, changed, limits = null) {
  const updates = [];
  let group = null;
  form.replaceChildren();
  for (const control of tab.controls) {
    if (control.group && control.group !== group) {
      group = control.group;
      form.append(Object.assign(document.createElement("h2"), { textContent: group }));
    }
    const build = { slider, "slider list": sliderList, choice }[control.kind];
    updates.push(build(form, control, settings, notify, () => allowed(control, limits?.())));
  }

  function notify(moving) {
    update();
    changed(moving);
  }

  function update() {
    for (const each of updates) each();
  }

  update();
  return { update };
}

/** What the settings are before anybody has changed them, with these options. */
export function defaults(tab, options = {}) {
  const settings = Object.fromEntries(tab.controls.map((control) => [control.name, structuredClone(control.default)]));
  for (const control of tab.controls) {
    if (control.kind !== "choice") continue;
    const option = control.options.find((each) => each.value === options[control.name]) ?? control.options[0];
    settings[control.name] = option.value;
    Object.assign(settings, option.sets);
  }
  return settings;
}

// The values that a control may have: all of them, or those of a stored page.
function allowed(control, limits) {
  if (!limits) return control.values ?? control.options.map((option) => option.value);
  return limits[control.name] ?? [];
}

function isShown(control, settings) {
  return Object.entries(control.shown_with).every(([name, options]) => options.includes(settings[name]));
}

function numeric(value) {
  return value === "inf" ? Infinity : value;
}

function nearest(values, value) {
  let best = 0;
  values.forEach((each, index) => {
    const closer = Math.abs(numeric(each) - numeric(value)) < Math.abs(numeric(values[best]) - numeric(value));
    if (each === value || (closer && values[best] !== value)) best = index;
  });
  return best;
}

// One slider over a list of values: a row of label, input, output.
function row(label, help, change) {
  const element = document.createElement("label");
  element.className = "control";
  if (help) element.title = help;
  const input = Object.assign(document.createElement("input"), { type: "range", min: 0, step: 1 });
  const output = document.createElement("output");
  element.append(Object.assign(document.createElement("span"), { textContent: label }), input, output);
  let values = [];
  input.addEventListener("input", () => change(values[input.value], true));
  input.addEventListener("change", () => change(values[input.value], false));
  return {
    element,
    input,
    set(value, choices, all) {
      const fixed = choices.length < 2;
      values = fixed ? all : choices;
      input.disabled = fixed;
      element.setAttribute("aria-disabled", fixed);
      input.max = values.length - 1;
      // The handle that a hand holds is where the hand wants it.
      const place = nearest(values, value);
      if (Number(input.value) !== place) input.value = place;
      output.textContent = short(value);
      input.setAttribute("aria-valuetext", short(value));
    },
  };
}

function slider(form, control, settings, notify, choices) {
  const line = row(control.label, control.help, (value, moving) => {
    settings[control.name] = value;
    notify(moving);
  });
  line.input.name = control.name;
  form.append(line.element);
  return () => {
    line.element.hidden = !isShown(control, settings);
    line.set(settings[control.name], choices(), control.values);
  };
}

function sliderList(form, control, settings, notify, choices) {
  const place = document.createElement("div");
  const buttons = document.createElement("div");
  buttons.className = "buttons";
  const change = (text, label, act) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => {
      act(settings[control.name]);
      notify(false);
    });
    buttons.append(button);
    return button;
  };
  const fewer = change("−", `Fewer ${control.label}`, (list) => list.pop());
  const more = change("+", `More ${control.label}`, (list) => list.push(list[list.length - 1]));
  const equal = change("all equal", `All ${control.label} equal`, (list) => {
    const mean = list.reduce((sum, value) => sum + value, 0) / list.length;
    list.fill(control.values[nearest(control.values, mean)]);
  });
  form.append(place, buttons);
  const lines = [];
  return () => {
    const list = settings[control.name];
    const shown = isShown(control, settings);
    place.hidden = buttons.hidden = !shown;
    while (lines.length > list.length) lines.pop().element.remove();
    while (lines.length < list.length) {
      const index = lines.length;
      const line = row(indexed(control.symbol, index + 1), control.help, (value, moving) => {
        settings[control.name][index] = value;
        notify(moving);
      });
      line.input.name = `${control.name}-${index + 1}`;
      lines.push(line);
      place.append(line.element);
    }
    const values = choices();
    lines.forEach((line, index) => line.set(list[index], values, control.values));
    fewer.disabled = values.length < 2 || list.length <= control.least;
    more.disabled = values.length < 2 || list.length >= control.most;
    equal.disabled = values.length < 2;
  };
}

function choice(form, control, settings, notify, choices) {
  const set = document.createElement("fieldset");
  set.className = "choice";
  if (control.help) set.title = control.help;
  const row = document.createElement("div");
  row.className = "options";
  set.append(Object.assign(document.createElement("legend"), { textContent: control.label }), row);
  const inputs = control.options.map((option) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: control.name, value: option.value });
    input.addEventListener("change", () => {
      settings[control.name] = option.value;
      Object.assign(settings, option.sets);
      notify(false);
    });
    label.append(input, Object.assign(document.createElement("span"), { textContent: option.label }));
    row.append(label);
    return input;
  });
  form.append(set);
  return () => {
    set.hidden = !isShown(control, settings);
    const values = choices();
    for (const input of inputs) {
      input.checked = input.value === settings[control.name];
      input.disabled = !input.checked && !values.includes(input.value);
    }
  };
}
