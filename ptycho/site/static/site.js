// What the theme lacks: tables that sort, what scrolls within reach of the keyboard, curves in the colours of the page.

for (const table of document.querySelectorAll("article table")) table.classList.add("sortable", "asc", "n-last");
for (const element of document.querySelectorAll(".table-wrapper, .math-wrapper, .cell_output, pre"))
  if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
const sides = { "sidebar-drawer": "Pages", "toc-drawer": "On this page" };
for (const side in sides) document.querySelector(`aside.${side}`)?.setAttribute("aria-label", sides[side]);
for (const caption of document.querySelectorAll("p.caption[role=heading]")) caption.ariaLevel = 2;
if (!document.querySelector("h1")) document.querySelector("article")?.insertAdjacentHTML("afterbegin", "<h1>Search</h1>");
if (document.querySelector(".curves")) {
  recolour();
  new MutationObserver(recolour).observe(document.body, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
}

// A curve is drawn on a canvas, which the style sheet of the page does not reach.
function recolour() {
  const drawn = window.Bokeh?.documents ?? [];
  if (!drawn.length) return setTimeout(recolour, 50); // not drawn yet
  const style = getComputedStyle(document.body);
  const [text, faint, page] = ["foreground-primary", "background-border", "background-primary"].map((name) =>
    style.getPropertyValue(`--color-${name}`).trim(),
  );
  const colours = [
    [/text_color$/, text],
    [/^(axis|(major|minor)_tick)_line_color$/, text],
    [/^(grid|outline|border)_line_color$/, faint],
    [/^inactive_fill_color$/, page],
  ];
  for (const one of drawn)
    for (const model of one.all_models)
      for (const { attr } of model)
        for (const [names, colour] of colours) if (names.test(attr)) model.setv({ [attr]: colour });
}
