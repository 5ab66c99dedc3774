// Search, filters and sorting of the results; all else works without a script.
(() => {
  "use strict";
  const form = document.getElementById("filters");
  const rows = [...document.querySelectorAll(".rows tbody tr")];
  const areas = [...document.querySelectorAll("details.area")];
  const atFirst = new Map(areas.map((area) => [area, area.open]));
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const output = form.querySelector("output");

  const filter = () => {
    const { text, verdict, section, worker } = Object.fromEntries(new FormData(form));
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const active = Boolean(words.length || verdict || section || worker);
    let shown = 0;
    for (const area of areas) {
      let inside = 0;
      for (const row of area.querySelectorAll("tbody tr")) {
        const hit =
          words.every((word) => texts.get(row).includes(word)) &&
          (!verdict || row.classList.contains("r-" + verdict.replace(" ", "-"))) &&
          (!section || area.id === section) &&
          (!worker || row.dataset.worker === worker);
        row.hidden = !hit;
        inside += hit;
      }
      area.hidden = active && !inside;
      area.open = active ? inside > 0 : atFirst.get(area);
      shown += inside;
    }
    output.textContent = active ? output.dataset.text.replace("{shown}", shown).replace("{all}", rows.length) : "";
  };

  const keys = {
    order: (row) => row.cells[0].textContent.split(".").map((part) => part.padStart(3, "0")).join("."),
    verdict: (row) => row.cells[1].textContent,
    title: (row) => row.cells[2].textContent,
    took: (row) => parseFloat(row.cells[3].textContent || 0) * (row.cells[3].textContent.endsWith("ms") ? 1 : 1000),
  };
  const sort = (head) => {
    const key = keys[head.dataset.sort];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = head.closest("table").tBodies[0];
    const sorted = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      return (x > y) - (x < y);
    });
    body.append(...(down ? sorted.reverse() : sorted));
  };
  for (const head of document.querySelectorAll("th[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(head));
    head.replaceChildren(button);
  }

  // What a link leads to is opened, whatever it lies in.
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let part = target; part; part = part.parentElement) {
      if (part.tagName === "DETAILS") part.open = true;
    }
    target.scrollIntoView();
  };

  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", reveal);
  form.hidden = false;
  reveal();
})();
