/* Conveniences that nothing depends on: tables that sort by a column, and a list of sections that follows the reader. */
(() => {
  "use strict";

  const named = new Intl.Collator("en", { numeric: true });

  /* What a cell sorts by: its estimate without the small print, a number where it is one, null where it is undefined. */
  const value = (cell) => {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("small, .more").forEach((part) => part.remove());
    const text = copy.textContent.trim();
    const plain = text.replace(/−/g, "-").replace(/,(?=\d{3})/g, "").replace(/^[<≈]\s*/, "");
    const found = plain.match(/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?(?=$|[\s%[(])/i);
    if (found) return text.startsWith("<") ? Number(found[0]) / 2 : Number(found[0]);
    return ["", "–", "undefined"].includes(text) ? null : text;
  };

  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b
    : typeof a === typeof b ? named.compare(a, b) : typeof a === "number" ? -1 : 1);

  const sortable = (table) => {
    const headers = [...table.tHead?.rows[0]?.cells ?? []];
    const rows = [...table.tBodies[0]?.rows ?? []];
    if (table.tHead?.rows.length !== 1 || rows.length < 2) return;
    if (rows.some((row) => row.cells.length !== headers.length)) return;
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const order = { none: "ascending", ascending: "descending", descending: "none" }[header.ariaSort ?? "none"];
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        if (order !== "none") header.setAttribute("aria-sort", order);
        const sign = order === "descending" ? -1 : 1;
        const keyed = rows.map((row, place) => [value(row.cells[column]), place, row]);
        keyed.sort(([a, i], [b, j]) => {
          if (order === "none" || a === b) return i - j;
          return a === null ? 1 : b === null ? -1 : sign * compare(a, b) || i - j; // what is undefined stands last
        });
        table.tBodies[0].append(...keyed.map(([, , row]) => row));
      });
    });
  };

  document.querySelectorAll("main table").forEach(sortable);

  /* A link into a folded part opens it, and so does printing. */
  const unfold = (element) => { for (let e = element; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true; };
  const follow = () => unfold(document.getElementById(location.hash.slice(1)));
  addEventListener("hashchange", follow);
  follow();
  addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach((part) => {
    part.open = true;
    addEventListener("afterprint", () => { part.open = false; }, { once: true });
  }));

  const list = document.querySelector("nav[aria-labelledby='contents']");
  const links = new Map([...list?.querySelectorAll("a[href^='#']") ?? []].map((link) => [link.hash.slice(1), link]));
  const sections = [...document.querySelectorAll("section[aria-labelledby]")]
    .filter((section) => links.has(section.getAttribute("aria-labelledby")));
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) isIntersecting ? seen.add(target) : seen.delete(target);
    const here = sections.filter((section) => seen.has(section)).pop();
    const current = here && links.get(here.getAttribute("aria-labelledby"));
    for (const link of links.values()) {
      if (link === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "0px 0px -70% 0px" }); // the upper part of the window, where one reads
  sections.forEach((section) => watcher.observe(section));
})();
