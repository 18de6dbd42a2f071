// A pasted error message is words to the reader, but not to the search engine: there "refused:" names a field,
// "--force" excludes a word, and the answer is nothing at all. Take such marks out before the engine sees them.
document.addEventListener(
  "input",
  ({ target }) => {
    if (!target.matches("[data-md-component=search-query]")) return;
    const words = target.value.replace(/[:~^*]/g, " ").replace(/(^|\s)[-+]+/g, "$1");
    if (words !== target.value) target.value = words;
    // It listens to keys alone: tell it of what was pasted by mouse or on a phone, too.
    target.dispatchEvent(new Event("keyup", { bubbles: true }));
  },
  true,
);

// On a phone a table is a list of rows: each cell then says the head of its column.
for (const table of document.querySelectorAll(".md-typeset table:not([class])")) {
  const heads = [...table.querySelectorAll("th")].map((head) => head.textContent.trim());
  for (const row of table.tBodies[0].rows)
    for (const cell of row.cells) if (heads[cell.cellIndex]) cell.dataset.head = heads[cell.cellIndex];
}

// A word of code stays whole: neither "mm-postflight" nor "--force" breaks at its hyphens.
// A report with columns is narrow on a phone; what wraps there is indented as its line is.
for (const code of document.querySelectorAll(".md-typeset code")) {
  code.classList.toggle("report", /^ +(PID|FILE) {2}/m.test(code.textContent));
  for (const line of code.matches(".report") ? code.children : [])
    line.style.setProperty("--indent", `${/^ */.exec(line.textContent)[0].length}ch`);
  const texts = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) if (/\S-|-\S/.test(texts.currentNode.data)) found.push(texts.currentNode);
  for (const text of found)
    text.replaceWith(
      ...text.data.split(/(\S*-\S*)/).map((part) => {
        if (!part.includes("-") || part.length > 30) return part;
        const word = document.createElement("span");
        word.className = "word";
        word.textContent = part;
        return word;
      }),
    );
}

// What Material builds after loading, made fit for keyboards and screen readers:
// a copy button's wrapper is no landmark, and what scrolls sideways can be reached to be scrolled.
new MutationObserver(() => {
  for (const nav of document.querySelectorAll(".md-code__nav:not([role])")) nav.setAttribute("role", "none");
  const sideways = ":is(.md-typeset__scrollwrap, .tabbed-labels):not([tabindex])";
  for (const box of document.querySelectorAll(sideways)) if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
}).observe(document, { childList: true, subtree: true });
