// The button that goes from one theme to the next. The choice itself is made and remembered by theme.js, which runs before
// the first paint and so is no module: `globalThis.nextTheme` is how this one reaches it.

export class ThemeButton {
  #button = document.querySelector("#theme");

  constructor() {
    this.#button.addEventListener("click", () => this.next());
    this.#show(document.documentElement.dataset.theme);
  }

  next() {
    this.#show(globalThis.nextTheme());
  }

  #show(theme) {
    this.#button.setAttribute("aria-label", `theme: ${theme}`);
    this.#button.title = `theme: ${theme}`;
  }
}
