// Runs before the first paint (a classic script in the head), so that a remembered theme does not flash.
// "auto" follows the system; light and dark are remembered.

(() => {
  const THEMES = ["auto", "light", "dark"];
  const root = document.documentElement;

  const remembered = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is off: the theme lives as long as the page
    }
  };

  const apply = (theme) => {
    root.dataset.theme = THEMES.includes(theme) ? theme : "auto";
  };

  globalThis.nextTheme = () => {
    const theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
    apply(theme);
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // as above
    }
    return theme;
  };

  apply(remembered());
})();
