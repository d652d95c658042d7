"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)").matches;
  const drawn = new Set(), hidden = new Set();

  // Plotly's template holds everything that depends on the theme; the figures themselves do not know it.
  function template() {
    const style = getComputedStyle(document.documentElement);
    const of = name => style.getPropertyValue(name).trim();
    const axis = { gridcolor: of("--line"), linecolor: of("--line"), zerolinecolor: of("--line"), tickcolor: of("--line"),
      zeroline: false };
    return { layout: {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: of("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: { bgcolor: of("--panel"), bordercolor: of("--line"), font: { color: of("--ink") } },
      colorscale: { sequential: [[0, of("--panel")], [1, of("--warm")]] },
      xaxis: axis, yaxis: axis } };
  }

  function draw(plot) {
    const figure = JSON.parse(document.getElementById(plot.dataset.figure).textContent);
    for (const trace of figure.data) if (trace.meta && hidden.has(trace.meta.group)) trace.visible = false;
    // A finger that drags means to scroll the page.
    const layout = { ...figure.layout, template: template(), uirevision: "kept", dragmode: touch ? false : "zoom" };
    Plotly.react(plot, figure.data, layout, { responsive: !figure.layout.width, displayModeBar: false });
    drawn.add(plot);
  }
  const redraw = () => drawn.forEach(draw);

  const plots = document.querySelectorAll(".plot");
  const watcher = new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) { watcher.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "400px" });
  plots.forEach(plot => watcher.observe(plot));
  addEventListener("beforeprint", () => plots.forEach(draw));
  dark.addEventListener("change", redraw);

  document.querySelectorAll("input[data-switch]").forEach(box => {
    box.checked = true;
    box.addEventListener("change", () => {
      const group = Number(box.dataset.switch);
      box.checked ? hidden.delete(group) : hidden.add(group);
      document.querySelectorAll(`[data-group="${group}"]`).forEach(part => { part.hidden = !box.checked; });
      redraw();
    });
  });
})();
