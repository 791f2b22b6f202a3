"use strict";
(() => {
  const isDark = matchMedia("(prefers-color-scheme: dark)");
  // A finger that pans the page must not be caught by a plot that zooms.
  const isTouch = matchMedia("(pointer: coarse)").matches;
  const hidden = new Set();
  const scales = {};
  const plots = [...document.querySelectorAll(".plot")].map((div) => ({
    div, name: div.closest("figure").id, source: div.nextElementSibling.textContent,
  }));

  /** Parse a figure, each "@role" replaced by the colour that the role has now. */
  function themed(source) {
    const style = getComputedStyle(document.documentElement);
    const colour = (text) => style.getPropertyValue("--" + text.slice(1)).trim();
    return JSON.parse(source, (key, value) => typeof value === "string" && value.startsWith("@") ? colour(value) : value);
  }

  function axis(layout, reference) {
    return layout[reference.replace("y", "yaxis")];
  }

  function draw({ div, name, source }) {
    const { data, layout } = themed(source);
    scales[name] ??= layout.yaxis.type;
    layout.yaxis.type = scales[name];
    // Zoom outlives a change of colours, not one of scale.
    layout.uirevision = "same";
    layout.yaxis.uirevision = scales[name];
    layout.dragmode = isTouch ? false : "zoom";
    data.forEach((trace) => { trace.visible = !hidden.has(trace.name); });
    layout.shapes.forEach((shape) => { shape.visible = !hidden.has(shape.name); });
    layout.annotations.forEach((note) => {
      note.visible = !hidden.has(note.name);
      if (note.yref !== "paper" && axis(layout, note.yref).type === "log") note.y = Math.log10(note.y);
    });
    Plotly.react(div, data, layout, {
      displaylogo: false, displayModeBar: isTouch ? false : "hover",
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
      toImageButtonOptions: { filename: name, scale: 2 },
    });
    document.querySelectorAll(`#${name} [data-scale]`).forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.scale === scales[name]));
    });
  }

  // Drawn at once, hundreds of figures would keep the browser busy for seconds: of so many, each is drawn when it comes near.
  const isLong = plots.length > 24;
  const drawn = new Set();
  const drawAll = () => plots.filter((plot) => drawn.has(plot)).forEach(draw);

  document.querySelectorAll("[data-role]").forEach((button) => button.addEventListener("click", () => {
    const role = button.dataset.role;
    if (!hidden.delete(role)) hidden.add(role);
    button.setAttribute("aria-pressed", String(!hidden.has(role)));
    drawAll();
  }));
  document.querySelectorAll("[data-scale]").forEach((button) => button.addEventListener("click", () => {
    const name = button.closest("figure").id;
    scales[name] = button.dataset.scale;
    draw(plots.find((plot) => plot.name === name));
  }));
  isDark.addEventListener("change", drawAll);
  // Plotly's own `responsive` hears the window only, not a container that changes.
  const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => Plotly.Plots.resize(target)));
  function drawFirst(plot) {
    if (drawn.has(plot)) return;
    drawn.add(plot);
    draw(plot);
    resized.observe(plot.div);
  }
  const near = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
    near.unobserve(target);
    drawFirst(plots.find(({ div }) => div === target));
  }), { rootMargin: "600px" });
  plots.forEach((plot) => isLong ? near.observe(plot.div) : drawFirst(plot));
  addEventListener("beforeprint", () => plots.forEach(drawFirst));
})();
