// Ctrl+K (or Cmd+K) leads to the box “What happened to this post?”, which is on every page.
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    const box = document.querySelector("#cb-find-box");
    if (!box) return;
    event.preventDefault();
    box.focus();
    box.select();
  }
});
