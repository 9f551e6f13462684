"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const tip = document.getElementById("tip");
  let marked = null;
  const unmark = () => {
    if (marked) marked.classList.remove("on");
    marked = null;
    tip.hidden = true;
  };
  document.addEventListener("pointermove", (e) => {
    const cell = e.target.closest ? e.target.closest("rect.hover") : null;
    if (!cell) return unmark();
    if (cell !== marked) {
      unmark();
      marked = cell;
      cell.classList.add("on");
      tip.textContent = cell.dataset.tip;
    }
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const right = e.clientX + 16 + box.width > innerWidth;
    tip.style.left = (right ? e.clientX - 16 - box.width : e.clientX + 16) + "px";
    tip.style.top = Math.min(Math.max(8, e.clientY - box.height / 2), innerHeight - box.height - 8) + "px";
  });
  document.addEventListener("pointerleave", unmark);
  addEventListener("scroll", unmark, { passive: true });

  for (const button of document.querySelectorAll("button.copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.previousElementSibling.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not allowed";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
  addEventListener("beforeprint", () => {
    for (const d of document.querySelectorAll("details")) d.open = true;
  });
})();
