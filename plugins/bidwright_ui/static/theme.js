// Light or dark as Airflow shows itself. Runs before the first paint, so that nothing flashes.
// Airflow keeps its choice in localStorage under "theme" and marks it as a class of its root element. Inside its
// frame we follow that class as it changes; opened alone, what it kept; else what the system prefers (style.css).
(function () {
  "use strict";
  const root = document.documentElement;
  root.classList.add("script"); // style.css keeps room for the charts

  function parentRoot() {
    try {
      return window.parent === window ? null : window.parent.document.documentElement;
    } catch {
      return null; // another origin's frame
    }
  }

  function wanted(outer) {
    if (outer) {
      if (outer.classList.contains("dark")) return "dark";
      if (outer.classList.contains("light")) return "light";
      if (outer.dataset.theme) return outer.dataset.theme; // a page of ours that frames another one
    }
    try {
      const kept = localStorage.getItem("theme");
      return kept === "dark" || kept === "light" ? kept : "";
    } catch {
      return "";
    }
  }

  const outer = parentRoot();
  function follow() {
    const theme = wanted(outer);
    if ((root.dataset.theme || "") === theme) return;
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    document.dispatchEvent(new Event("themechange"));
  }

  follow();
  if (outer) new MutationObserver(follow).observe(outer, { attributes: true, attributeFilter: ["class", "data-theme"] });
  window.addEventListener("storage", follow);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("themechange")));
})();
