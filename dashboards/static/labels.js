// Keys for the labelling queue. Every key presses a button or follows a link that is on the page.
"use strict";
(() => {
  const desk = () => document.getElementById("desk");
  let shownAt = performance.now();
  let busy = false;

  const isTyping = (target) =>
    target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping(event.target)) return;
    if (event.key === "?") {
      const keys = document.getElementById("keys");
      keys.open = !keys.open;
      if (keys.open) keys.querySelector("summary").focus();
      event.preventDefault();
      return;
    }
    const wanted = event.key.toLowerCase();
    const found = [...desk().querySelectorAll("[data-keys]")].find((one) =>
      one.dataset.keys.split(" ").includes(wanted),
    );
    if (!found) return;
    event.preventDefault();
    if (!busy) found.click();
  });

  document.addEventListener("submit", (event) => {
    const seconds = event.target.querySelector("input[name=seconds]");
    if (seconds) seconds.value = ((performance.now() - shownAt) / 1000).toFixed(1);
  }, true);

  document.addEventListener("htmx:beforeRequest", () => { busy = true; });
  document.addEventListener("htmx:afterRequest", () => { busy = false; });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id !== "desk" && !desk().contains(event.target)) return;
    shownAt = performance.now();
    const heading = document.getElementById("item");
    const next = heading ? heading.textContent : desk().textContent.trim();
    document.getElementById("announce").textContent = `${desk().dataset.said} ${next}`.trim();
    if (heading) {
      heading.focus({ preventScroll: true });
      heading.scrollIntoView({ block: "nearest" });
    }
  });
  document.addEventListener("htmx:responseError", () => { window.location.reload(); });
  document.addEventListener("htmx:sendError", () => {
    document.getElementById("announce").textContent = "The dashboard does not answer; nothing was kept.";
  });
})();
