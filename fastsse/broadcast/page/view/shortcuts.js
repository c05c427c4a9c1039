// Keys that do what the buttons do. Single keys can be switched off (WCAG 2.1.4), and never act while somebody types.

const STORED = "shortcuts";

/** @param {Record<string, () => void>} actions by key */
export function installShortcuts(actions) {
  const dialog = document.querySelector("#shortcuts");
  const enabled = document.querySelector("#shortcuts-enabled");
  enabled.checked = stored() !== "off";
  enabled.addEventListener("change", () => store(enabled.checked ? "on" : "off"));

  const open = () => dialog.showModal();
  document.querySelector("#show-shortcuts").addEventListener("click", open);
  dialog.addEventListener("click", (click) => {
    if (click.target === dialog) dialog.close(); // its backdrop
  });

  addEventListener("keydown", (key) => {
    if (!enabled.checked || key.ctrlKey || key.metaKey || key.altKey || document.querySelector("dialog[open]") || isTyping(key.target)) return;
    const name = key.key?.toLowerCase() ?? ""; // a browser that fills a form in sends key events without a key
    const action = name === "?" ? open : Object.hasOwn(actions, name) ? actions[name] : null;
    if (!action) return;
    key.preventDefault();
    action();
  });
}

function isTyping(target) {
  return target instanceof HTMLElement && target.matches("input:not([type=checkbox]), textarea, select");
}

function stored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function store(value) {
  try {
    localStorage.setItem(STORED, value);
  } catch {
    // storage is off: the choice lives as long as the page
  }
}
