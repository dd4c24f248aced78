// What a person has chosen: the same in all views, and on the next visit. Nothing is stored before something is chosen.

const KEY = "mien-settings";

const news = new EventTarget();
const values = read();

function read() {
  try {
    return { ...JSON.parse(localStorage.getItem(KEY)) };
  } catch {
    return {}; // storage is switched off, or holds something else
  }
}

export const chosen = (name, usual) => values[name] ?? usual;

export function choose(name, value) {
  values[name] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(values));
  } catch {
    // the choice lasts as long as the page
  }
  news.dispatchEvent(new Event(name));
}

/** Tie a select, slider or checkbox to a setting; `changed` is called whenever it is chosen anew, in whichever view. */
export function tie(control, name, changed = () => {}) {
  const key = control.type === "checkbox" ? "checked" : "value";
  const show = () => {
    const value = chosen(name, control[key]);
    if (!control.options || [...control.options].some((option) => option.value === value)) control[key] = value;
  };
  show();
  control.addEventListener("change", () => choose(name, control[key]));
  news.addEventListener(name, () => {
    show();
    changed();
  });
}

/** Tie a slider of seconds to a setting, with its value in words beside it. */
export function tieSeconds(slider, name, changed) {
  const say = () => {
    const value = Number(slider.value);
    document.querySelector(`output[for="${slider.id}"]`).textContent = value ? `${value.toFixed(1)} s` : "off";
    slider.setAttribute("aria-valuetext", value ? `${value.toFixed(1)} seconds` : "off");
  };
  slider.addEventListener("input", say);
  tie(slider, name, () => {
    say();
    changed?.();
  });
  say();
}
