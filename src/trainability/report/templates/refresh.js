"use strict";
// Only in a served page: polls whether the run directory has changed, and then reloads the page in the state that the reader has set.
(() => {
  const INTERVAL_MS = 5000;
  const state = document.currentScript.dataset.state;
  const key = "trainability " + location.pathname;
  const plots = () => [...document.querySelectorAll(".plot")].filter((div) => div.layout);
  const buttons = () => [...document.querySelectorAll("button[aria-pressed]")];
  const details = () => [...document.querySelectorAll("details")];
  const idOf = (element) => (element.closest("figure")?.id ?? "") + JSON.stringify(element.dataset);
  const axes = (div) => Object.keys(div.layout).filter((name) => /^[xy]axis\d*$/.test(name));
  let isHeld = false;

  const note = document.createElement("p");
  note.setAttribute("role", "status");
  note.style.cssText = "position:fixed;right:12px;bottom:8px;margin:0;padding:2px 8px;font-size:12px;border-radius:4px;" +
    "background:var(--panel);color:var(--muted);border:1px solid var(--line)";
  const say = (text) => { if (note.textContent !== text) note.textContent = text; };
  say("Refreshes by itself");
  document.body.append(note);

  function remember() {
    const zooms = {};
    for (const div of plots()) {
      for (const name of axes(div)) {
        const axis = div.layout[name];
        // A range is in axis coordinates: logarithms on a log axis.
        if (axis.autorange === false) zooms[div.closest("figure").id + " " + name] = [axis.type, ...axis.range];
      }
    }
    const pressed = Object.fromEntries(buttons().map((button) => [idOf(button), button.getAttribute("aria-pressed")]));
    const open = details().map((element) => element.open);
    sessionStorage.setItem(key, JSON.stringify({ x: scrollX, y: scrollY, pressed, open, zooms }));
  }

  function restore() {
    const kept = JSON.parse(sessionStorage.getItem(key) ?? "null");
    sessionStorage.removeItem(key);
    if (!kept) return;
    // Pressed buttons first: in an exclusive group, pressing one releases the others.
    for (const wanted of ["true", "false"]) {
      for (const button of buttons()) {
        if (kept.pressed[idOf(button)] === wanted && button.getAttribute("aria-pressed") !== wanted) button.click();
      }
    }
    if (kept.open.length === details().length) details().forEach((element, i) => { element.open = kept.open[i]; });
    for (const div of plots()) {
      const changes = {};
      for (const name of axes(div)) {
        const [type, ...range] = kept.zooms[div.closest("figure").id + " " + name] ?? [];
        if (type && type === div.layout[name].type) changes[name + ".range"] = range;
      }
      if (Object.keys(changes).length) Plotly.relayout(div, changes);
    }
    scrollTo({ left: kept.x, top: kept.y, behavior: "instant" });
  }

  async function look() {
    // Do not reload a hidden page, nor one in which the reader drags or selects.
    if (document.hidden || isHeld || !getSelection().isCollapsed) return;
    let now;
    try {
      const answer = await fetch("/state", { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      now = await answer.text();
    } catch {
      return say("Not connected: the page does not refresh");
    }
    say("Refreshes by itself");
    if (now === state || isHeld) return;
    remember();
    location.reload();
  }

  history.scrollRestoration = "manual";
  addEventListener("pointerdown", () => { isHeld = true; });
  for (const end of ["pointerup", "pointercancel", "blur"]) addEventListener(end, () => { isHeld = false; });
  document.addEventListener("visibilitychange", look);
  restore();
  setInterval(look, INTERVAL_MS);
})();
