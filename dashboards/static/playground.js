"use strict";
/* Asks the chosen columns at once, each by a request of its own, and writes what comes as it comes. */
(() => {
  const form = document.getElementById("play");
  const answers = document.getElementById("answers");
  const pattern = document.getElementById("column");
  const stop = document.getElementById("stop");
  const button = document.getElementById("ask");
  const state = document.getElementById("state");
  if (!form || !button || !window.ReadableStream) return;
  const token = document.querySelector('meta[name="token"]').content;
  const task = new URL(form.action).search;
  let stopper = null;

  const show = (element, text) => { element.textContent = text; element.hidden = !text; };

  function addColumn(choice) {
    const column = pattern.content.firstElementChild.cloneNode(true);
    const words = choice.closest("label").querySelector("span").firstChild.textContent.trim();
    column.querySelector("h2").textContent = words;
    column.querySelector("pre").setAttribute("aria-label", `Text of ${words}`);
    column.setAttribute("aria-label", `Answer of ${words}`);
    column.setAttribute("aria-busy", "true");
    answers.append(column);
    return column;
  }

  function apply(column, event) {
    const said = column.querySelector(".said-so");
    const asked = column.querySelector(".asked");
    if (event.kind === "text") column.querySelector("pre").append(event.text);
    else if (event.kind === "score") column.querySelector(".score").textContent = event.text;
    else if (event.kind === "asked") asked.textContent += (asked.textContent ? ", then " : "") + event.text;
    else if (event.kind === "said") show(said, `${said.textContent} ${event.text}`.trim());
    else if (event.kind === "error") show(column.querySelector(".error"), event.text);
    else if (event.kind === "done") facts(column.querySelector("dl"), event.facts);
  }

  function facts(list, pairs) {
    for (const [name, value] of pairs) {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = value;
      list.append(dt, dd);
    }
  }

  async function play(column, name, signal) {
    const body = new URLSearchParams(new FormData(form));
    body.set("column", name);
    const answer = await fetch(`/playground/stream${task}`, {
      method: "POST", body, signal, headers: { "x-token": token }, credentials: "same-origin", redirect: "error",
    });
    if (!answer.ok || !(answer.headers.get("content-type") || "").startsWith("text/event-stream")) {
      throw new Error(answer.status === 403 ? "the page is too old; load it again" : `the dashboard answered ${answer.status}`);
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) apply(column, JSON.parse(event.slice("data: ".length)));
    }
  }

  async function run(column, name, signal) {
    try {
      await play(column, name, signal);
    } catch (error) {
      apply(column, { kind: "error", text: signal.aborted ? "stopped" : `the dashboard cannot be reached: ${error.message}` });
    } finally {
      column.setAttribute("aria-busy", "false");
    }
  }

  async function askAll() {
    const chosen = [...form.querySelectorAll('input[name^="ask:"]:checked')];
    if (!chosen.length) {
      state.textContent = "Choose who is asked.";
      return;
    }
    stopper = new AbortController();
    button.disabled = true;
    stop.hidden = false;
    state.textContent = "asking …";
    answers.replaceChildren();
    const advice = document.getElementById("advice");
    advice.hidden = false;
    window.htmx.ajax("POST", `/playground/advice${task}`, { source: form, target: "#advice", swap: "innerHTML" });
    await Promise.all(chosen.map((choice) => run(addColumn(choice), choice.name.slice(4), stopper.signal)));
    state.textContent = stopper.signal.aborted ? "stopped" : "done";
    button.disabled = false;
    stop.hidden = true;
  }

  form.addEventListener("submit", (event) => {
    if (event.submitter && event.submitter.id !== "ask") return;
    event.preventDefault();
    if (!button.disabled) askAll();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(button);
  });
  stop.addEventListener("click", () => stopper && stopper.abort());
})();
