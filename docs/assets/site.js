// A pasted error message is words to the reader, but not to the search engine: there "refused:" names a field,
// "--force" excludes a word, and the answer is nothing at all. Take such marks out before the engine sees them.
document.addEventListener(
  "input",
  ({ target }) => {
    if (!target.matches("[data-md-component=search-query]")) return;
    const words = target.value.replace(/[:~^*]/g, " ").replace(/(^|\s)[-+]+/g, "$1");
    if (words !== target.value) target.value = words;
  },
  true,
);

// On a phone a table is a list of rows: each cell then says the head of its column.
for (const table of document.querySelectorAll(".md-typeset table:not([class])")) {
  const heads = [...table.querySelectorAll("th")].map((head) => head.textContent.trim());
  for (const row of table.tBodies[0].rows)
    for (const cell of row.cells) if (heads[cell.cellIndex]) cell.dataset.head = heads[cell.cellIndex];
}

// What Material builds after loading, made fit for keyboards and screen readers:
// a copy button's wrapper is no landmark, and what scrolls sideways can be reached to be scrolled.
new MutationObserver(() => {
  for (const nav of document.querySelectorAll(".md-code__nav:not([role])")) nav.setAttribute("role", "none");
  const sideways = ":is(.md-typeset__scrollwrap, .tabbed-labels):not([tabindex])";
  for (const box of document.querySelectorAll(sideways)) if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
}).observe(document, { childList: true, subtree: true });
