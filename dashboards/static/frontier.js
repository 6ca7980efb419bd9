// The slider says its bound in words while it moves; htmx fetches what the bound buys.
(() => {
  const slider = document.getElementById("step");
  if (!slider) return;
  const names = Array.from(slider.list.options, (option) => option.label);
  const shown = document.getElementById("loss");
  slider.addEventListener("input", () => {
    const name = names[Number(slider.value)];
    slider.setAttribute("aria-valuetext", name);
    shown.textContent = name;
  });
})();
