"use strict";
/* Follows new requests: tells the server what is shown, and rests while nobody looks. */
(() => {
  const tail = document.getElementById("tail");
  if (!tail) return;
  const state = document.querySelector(".live");
  document.addEventListener("visibilitychange", () => {
    state.classList.toggle("paused", document.hidden);
    state.textContent = document.hidden ? "paused" : "live";
  });
  tail.addEventListener("htmx:configRequest", (event) => {
    event.detail.parameters.seen = document.getElementById("rows").dataset.seen;
  });
  tail.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden) event.preventDefault();
  });
  for (const failed of ["htmx:sendError", "htmx:responseError"]) {
    tail.addEventListener(failed, () => { state.classList.add("paused"); state.textContent = "no answer"; });
  }
  tail.addEventListener("htmx:afterOnLoad", () => { state.classList.remove("paused"); state.textContent = "live"; });
})();
