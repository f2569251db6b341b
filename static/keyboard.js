// Everything on a page can be reached and named without a mouse; the theme leaves some controls to clicks alone.

// Ctrl+K (or Cmd+K) leads to the box “What happened to this post?”, which is on every page; "/" to the list's search.
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    const box = document.querySelector("#cb-find-box");
    if (!box) return;
    event.preventDefault();
    box.focus();
    box.select();
  }
});

// What an icon that is a control of its own does. Its text is the name of a drawing, which nobody should hear.
const NAMES = {
  dock_to_right: "Menu",
  close: "Close",
  unfold_more: "Your account",
  visibility: "View",
  visibility_off: "View",
  edit: "Change",
  add: "Add",
  light_mode: "Light theme",
  dark_mode: "Dark theme",
  computer: "The device's theme",
  close_fullscreen: "Close",
  chevron_right: "Open",
  more_horiz: "More",
  arrow_back: "Back",
  expand_more: "Open",
  search: "Search",
  mediation: "Overview",
};

function nameIcon(icon) {
  const control = icon.closest("a, button, [role=button]");
  if (control && !control.hasAttribute("aria-label") && control.innerText.trim() === icon.innerText.trim()) {
    const drawing = icon.innerText.trim();
    control.setAttribute("aria-label", control.title || icon.title || NAMES[drawing] || drawing.replaceAll("_", " "));
  }
  if (control !== icon) icon.setAttribute("aria-hidden", "true");
}

function makeReachable(control) {
  if (control.matches("button, a[href], input, select, textarea, label, #changelist-filter-close")) return;
  if (control.querySelector("a[href], button, input, select, textarea")) return;
  control.tabIndex = 0;
  control.setAttribute("role", "button");
  control.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    control.click();
  });
}

document.addEventListener("DOMContentLoaded", () => {
  for (const control of document.querySelectorAll("[x-on\\:click]")) makeReachable(control);
  for (const icon of document.querySelectorAll(".material-symbols-outlined")) nameIcon(icon);
  // A list that scrolls by itself is scrolled with the arrow keys.
  for (const box of document.querySelectorAll("pre, .cb-card, .simplebar-content-wrapper")) {
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
  }
});
