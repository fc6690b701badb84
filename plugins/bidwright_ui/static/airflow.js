// Links into Airflow from inside its frame. The frame is sandboxed: it may open no window and not navigate the page around
// it. But it is of the same origin, so a link made in that page, and clicked there, leads where ours says.
(function () {
  "use strict";
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[data-airflow]") : null;
    if (!link || window.parent === window) return; // opened alone: a plain link
    let outer = window;
    try {
      while (outer.parent !== outer && outer.parent.document) outer = outer.parent;
    } catch {
      return; // somebody else's frame
    }
    event.preventDefault();
    const made = outer.document.createElement("a");
    made.href = link.href;
    made.hidden = true;
    outer.document.body.append(made);
    made.click();
    made.remove();
  });
})();
