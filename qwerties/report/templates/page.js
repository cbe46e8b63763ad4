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
    const groups = [...table.tBodies].length > 1 ? [...table.tBodies] : [...table.tBodies[0]?.rows ?? []];
    const cells = (group) => [...(group.rows ? group.rows[group.rows.length - 1] : group).cells];
    if (table.tHead?.rows.length !== 1 || groups.length < 2) return;
    if (groups.some((group) => cells(group).length !== headers.length)) return;
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
        const keyed = groups.map((group, place) => [value(cells(group)[column]), place, group]);
        keyed.sort(([a, i], [b, j]) => {
          if (order === "none" || a === b) return i - j;
          return a === null ? 1 : b === null ? -1 : sign * compare(a, b) || i - j; // what is undefined stands last
        });
        const parent = groups[0].parentNode;
        keyed.forEach(([, , group]) => parent.append(group));
      });
    });
  };

  document.querySelectorAll("main table").forEach(sortable);

  const list = document.querySelector("nav[aria-labelledby='sections']");
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
    if (current && getComputedStyle(list).position === "fixed") { // at once: nothing moves that need not
      const [box, own] = [list.getBoundingClientRect(), current.getBoundingClientRect()];
      if (own.top < box.top || own.bottom > box.bottom) list.scrollTop += own.top - box.top - box.height / 2;
    }
  }, { rootMargin: "0px 0px -70% 0px" }); // the upper part of the window, where one reads
  sections.forEach((section) => watcher.observe(section));
})();
