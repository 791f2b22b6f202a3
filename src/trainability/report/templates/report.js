"use strict";
/* Draws every figure of the page, and handles its controls. A figure is a `.plot` followed by its plotly JSON. */
(() => {
  const isDark = matchMedia("(prefers-color-scheme: dark)");
  // On touch screens, panning the page must not zoom a plot.
  const isTouch = matchMedia("(pointer: coarse)").matches;
  const hidden = new Set([...document.querySelectorAll('[data-role][aria-pressed="false"]')].map((button) => button.dataset.role));
  const scales = {};
  let timeAxis = "epoch", smoothingSteps = 0, span = null, isSharing = false;
  const plots = [...document.querySelectorAll(".plot")].map((div) => ({
    div, figure: div.closest("figure"), name: div.closest("figure").id, source: div.nextElementSibling.textContent,
  }));

  /** Parse a figure, and replace each "@role" by the role's current colour. */
  function themed(source) {
    const style = getComputedStyle(document.documentElement);
    const colours = {};
    const colour = (text) => colours[text] ??= style.getPropertyValue("--" + text.slice(1)).trim();
    return JSON.parse(source, (key, value) => typeof value === "string" && value.startsWith("@") ? colour(value) : value);
  }

  const axis = (layout, reference) => layout[reference.replace("y", "yaxis")];
  const isTime = (layout) => layout.meta?.per_epoch !== undefined;

  /** Exponential moving average over about so many steps, with bias correction; skips gaps, and spacing may vary. */
  function smoothed(xs, ys, steps) {
    let sum = 0, weight = 0, before = null;
    return ys.map((y, i) => {
      if (y === null) return null;
      const kept = before === null ? 0 : Math.exp(-(xs[i] - before) / steps);
      before = xs[i];
      sum = sum * kept + y;
      weight = weight * kept + 1;
      return sum / weight;
    });
  }

  /** Add the smoothed curve of each trace that can be smoothed, and fade the raw one. */
  function withSmoothing(data) {
    if (!smoothingSteps) return data;
    return data.flatMap((trace) => {
      if (!trace.meta?.smooth) return [trace];
      const { x, y } = trace.meta.x ? trace.meta : trace;
      const line = { ...trace.line, width: 2, color: trace.meta.colour ?? themed('"@train"') };
      const hovertemplate = trace.hovertemplate.replace(/^/, `Smoothed over ${smoothingSteps} steps<br>`);
      const over = { ...trace, x, y: smoothed(x, y, smoothingSteps), line, hovertemplate, opacity: 1 };
      return [{ ...trace, opacity: 0.5 }, over];
    });
  }

  /** Convert everything that counts in steps to the axis that the reader has chosen. */
  function onTimeAxis(data, layout) {
    const { per_epoch: common, ends } = layout.meta, inEpochs = timeAxis === "epoch" && Boolean(common);
    const per = inEpochs ? common : 1;
    const place = inEpochs ? "epoch %{x:.4~g}" : "step %{x:,.6~r}";
    data.forEach((trace) => {
      // Compared runs may have epochs of different lengths.
      const own = inEpochs ? trace.meta?.per_epoch ?? common : 1;
      trace.x = trace.x.map((x) => x / own);
      trace.hovertemplate = trace.hovertemplate.replace("{position}", place);
    });
    layout.xaxis.title.text = inEpochs ? "Epoch" : "Step";
    if (!inEpochs) layout.xaxis.tickformat = ",.0f"; // 20,000 and not 0.2 times a power of ten
    layout.xaxis.range = ends ? [0, ends[inEpochs ? "epoch" : "step"]] : layout.xaxis.range.map((x) => x / per);
    layout.xaxis.uirevision = timeAxis;
    layout.shapes.filter((shape) => shape.xref === "x").forEach((shape) => { shape.x0 /= per; shape.x1 /= per; });
    layout.annotations.filter((note) => note.xref === "x").forEach((note) => { note.x /= per; });
  }

  /** Draw the histograms of every layer, one above the other, at the selected step, and dashed at the first. */
  function histograms(figure, layout) {
    const kind = figure.querySelector("[data-choice]").value, at = sample(figure);
    const { lowest, shares, zeros } = layout.meta.histograms[kind], names = layout.meta.names;
    const highest = Math.max(...shares.flat(2), 1), colour = themed('["@train","@heat-low","@chance","@muted"]');
    const curve = (moment, layer, style) => {
      const base = names.length - 1 - layer, row = shares[moment][layer] ?? [];
      const middles = row.map((_, i) => 2 ** (lowest + i + 0.5));
      return {
        type: "scatter", mode: "lines", name: "histogram",
        x: [middles[0], ...middles, middles.at(-1)], y: [base, ...row.map((share) => base + 0.95 * share / highest), base],
        customdata: [0, ...row, 0].map((share) => share / 1000),
        hovertemplate: `${names[layer]}<br>%{customdata:.1%} near %{x:.2~g}<extra></extra>`, hoveron: "points", ...style,
      };
    };
    const now = { fill: "toself", fillcolor: colour[1], line: { color: colour[0], width: 1.5 } };
    const first = { line: { color: colour[2], width: 1, dash: "dot" }, hoverinfo: "skip", hovertemplate: null };
    layout.annotations = names.flatMap((_, layer) => zeros[at][layer] < 5 ? [] : [{
      xref: "paper", x: 1, xanchor: "left", xshift: 5, y: names.length - 1 - layer, yref: "y", yanchor: "bottom",
      text: `${(zeros[at][layer] / 10).toFixed(0)} % zero`, showarrow: false, font: { size: 11, color: colour[3] },
    }]);
    layout.xaxis.range = [lowest, lowest + Math.max(...shares.flat().map((row) => row.length))].map((e) => e * Math.log10(2));
    layout.xaxis.uirevision = kind;
    return names.flatMap((_, layer) => [curve(at, layer, now), ...(at ? [curve(0, layer, first)] : [])]);
  }

  const sample = (figure) => Number(figure.querySelector("[data-sample]")?.value ?? 0);

  function sayMoment(figure, { steps, epoch_steps: per }) {
    const step = steps[sample(figure)], words = `step ${step.toLocaleString("en")}${per ? `, epoch ${(step / per).toFixed(1)}` : ""}`;
    figure.querySelector("[data-said]").textContent = words;
    figure.querySelector("[data-sample]")?.setAttribute("aria-valuetext", words);
  }

  /** Settings that make plotly show the whole axis; plotly changes the layout that it is given. */
  function whole(layout, name) {
    const { range, autorange } = layout[name];
    return range ? { [`${name}.range`]: [...range] } : { [`${name}.autorange`]: autorange ?? true };
  }

  /** Show the same span of time in every figure over time; `null` the whole of each. */
  function showSpan(others) {
    isSharing = true;
    const changes = ({ home }) => ({ "xaxis.range": [...(span ?? home["xaxis.range"])] });
    Promise.all(others.map((plot) => Plotly.relayout(plot.div, changes(plot)))).finally(() => { isSharing = false; });
  }

  /** Follow the reader who zooms or moves one figure over time. */
  function follow(plot, change) {
    if (isSharing || !isTime(plot.div.layout)) return;
    const from = change["xaxis.range[0]"], range = from === undefined ? change["xaxis.range"] : [from, change["xaxis.range[1]"]];
    if (!range && !change["xaxis.autorange"]) return;
    const home = plot.home["xaxis.range"];
    span = range && !range.every((end, i) => end === home[i]) ? range : null;
    showSpan(plots.filter((other) => other !== plot && drawn.has(other) && isTime(other.div.layout)));
  }

  /** Ticks of a log axis of few decades in full: plotly would write a bare 2 or 5 between powers of ten in larger type. */
  function logTicks({ type, dtick }, data) {
    if (type !== "log") return {};
    const values = data.flatMap(({ y }) => y ?? []).filter((value) => value > 0);
    const highest = values.reduce((a, b) => Math.max(a, b), 0), lowest = values.reduce((a, b) => Math.min(a, b), Infinity);
    const decades = Math.log10(highest / lowest);
    if (decades >= 4) return dtick ? {} : { dtick: Math.ceil(decades / 6) }; // powers of ten alone
    return { tickformat: highest < 0.01 ? "~e" : ".4~g", ...(decades > 0.5 && decades < 3 ? { dtick: "D2" } : {}) };
  }

  function draw(plot) {
    const { div, figure, name, source } = plot;
    let { data, layout } = themed(source);
    if (layout.meta?.histograms) {
      data = histograms(figure, layout);
      sayMoment(figure, layout.meta);
    }
    scales[name] ??= layout.yaxis.type;
    layout.yaxis.type = scales[name];
    // Zoom is kept when colours change, not when the scale changes.
    layout.uirevision = "same";
    layout.yaxis.uirevision = scales[name];
    layout.dragmode = isTouch ? false : "zoom";
    data = withSmoothing(data);
    if (isTime(layout)) onTimeAxis(data, layout);
    const isHidden = (item) => hidden.has(item.name) || hidden.has(item.meta?.run);
    data.forEach((trace) => { trace.visible = !isHidden(trace); });
    Object.assign(layout.yaxis, logTicks(layout.yaxis, data.filter(({ visible }) => visible)));
    layout.shapes.forEach((shape) => { shape.visible = !isHidden(shape); });
    layout.annotations.forEach((note) => {
      note.visible = !isHidden(note);
      if (note.yref !== "paper" && axis(layout, note.yref).type === "log") note.y = Math.log10(note.y);
    });
    plot.home = { ...whole(layout, "xaxis"), ...whole(layout, "yaxis") };
    Plotly.react(div, data, layout, {
      displaylogo: false, displayModeBar: isTouch ? false : "hover",
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
      toImageButtonOptions: { filename: name, scale: 2 },
    });
    figure.querySelectorAll("[data-scale]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.scale === scales[name]));
    });
  }

  /** Zoom by a factor about the middle of a figure, and move by a fraction of its width; 0 and 0 reset. */
  function look({ div, home }, factor, shift) {
    const [from, to] = div._fullLayout.xaxis.range, half = (to - from) / 2 * factor;
    const middle = (from + to) / 2 + shift * (to - from);
    Plotly.relayout(div, factor ? { "xaxis.range": [middle - half, middle + half] } : home);
  }
  const KEYS = { "+": [0.5, 0], "=": [0.5, 0], "-": [2, 0], ArrowLeft: [1, -0.25], ArrowRight: [1, 0.25], 0: [0, 0] };

  // Drawing hundreds of figures at once blocks the browser for seconds: with so many, each is drawn when it is near the window.
  const isLong = plots.length > 24;
  const drawn = new Set();
  const drawAll = () => plots.filter((plot) => drawn.has(plot)).forEach(draw);

  const listen = (what, event, action) => document.querySelectorAll(what).forEach((item) => {
    item.addEventListener(event, () => action(item));
  });
  const plotOf = (item) => plots.find((plot) => plot.name === item.closest("figure").id);

  listen("[data-role]", "click", (button) => {
    const role = button.dataset.role;
    if (!hidden.delete(role)) hidden.add(role);
    button.setAttribute("aria-pressed", String(!hidden.has(role)));
    drawAll();
  });
  listen("[data-scale]", "click", (button) => {
    scales[plotOf(button).name] = button.dataset.scale;
    draw(plotOf(button));
  });
  listen("[data-axis]", "click", (button) => {
    timeAxis = button.dataset.axis;
    span = null;
    document.querySelectorAll("[data-axis]").forEach((item) => item.setAttribute("aria-pressed", String(item === button)));
    drawAll();
  });
  listen("[data-smoothing]", "input", (slider) => {
    // From one step at the left to data-most at the right, by equal factors.
    const steps = slider.value === "0" ? 0 : Math.max(2, Math.round(Number(slider.dataset.most) ** (slider.value / 100)));
    const words = steps ? `over ${steps.toLocaleString("en")} steps` : "off";
    document.querySelector("[data-smoothed]").textContent = words;
    slider.setAttribute("aria-valuetext", words);
    if (steps === smoothingSteps) return;
    smoothingSteps = steps;
    plots.filter((plot) => drawn.has(plot) && plot.source.includes('"smooth":true')).forEach(draw);
  });
  listen("[data-choice]", "change", (choice) => draw(plotOf(choice)));
  listen("[data-sample]", "input", (slider) => draw(plotOf(slider)));
  plots.forEach((plot) => plot.div.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    look(plot, ...KEYS[event.key]);
  }));
  isDark.addEventListener("change", drawAll);
  // plotly's `responsive` only follows the window, not a container that changes size.
  const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => Plotly.Plots.resize(target)));
  function drawFirst(plot) {
    if (drawn.has(plot)) return;
    drawn.add(plot);
    draw(plot);
    plot.div.on("plotly_relayout", (change) => follow(plot, change));
    if (span && isTime(plot.div.layout)) showSpan([plot]);
    resized.observe(plot.div);
  }
  const near = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
    near.unobserve(target);
    drawFirst(plots.find(({ div }) => div === target));
  }), { rootMargin: "600px" });
  plots.forEach((plot) => isLong ? near.observe(plot.div) : drawFirst(plot));
  addEventListener("beforeprint", () => plots.forEach(drawFirst));
})();
