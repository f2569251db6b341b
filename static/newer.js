/* A list that is left open says how many newer rows there are, and shows them where one stands: what is selected stays
   selected, and the row that was at the top of the screen stays there. Without this file the page is loaded anew. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const LOOK_SECONDS = 10, UNATTENDED_MINUTES = 20;
  const button = document.querySelector("#cb-newer");
  const form = document.querySelector("#changelist-form");
  if (!button || !form) return;
  let used = Date.now();

  const rows = (within) => [...within.querySelectorAll("#result_list > tbody")];
  const rowId = (row) => (/\/(\d+)\/change\//.exec(row.querySelector("a[href*='/change/']")?.getAttribute("href") ?? "") ?? [])[1];
  const known = () => new Set(rows(form).map(rowId));

  function offer(ids) {
    const shown = known();
    const unseen = ids.filter((id) => !shown.has(String(id))).length;
    button.hidden = unseen === 0;
    const many = unseen === ids.length && shown.size > 0 ? `${unseen} or more` : unseen;
    button.textContent = `${many} newer ${unseen === 1 ? button.dataset.one : button.dataset.many}: show`;
  }

  async function look() {
    // Looking keeps the session alive; a page that nobody attends to must not.
    if (document.hidden || Date.now() - used > UNATTENDED_MINUTES * 60000) return;
    const answer = await fetch(button.dataset.shown, { headers: { Accept: "application/json" } });
    if (answer.ok && !answer.redirected) offer((await answer.json()).ids);
  }

  /* Handlers of rows are made anew by the admin's own script. */
  function exchange(fresh) {
    const selected = new Set(rows(form).filter((row) => row.querySelector(".action-select:checked")).map(rowId));
    const old = rows(form);
    const upper = old.find((row) => row.getBoundingClientRect().top >= 0);
    const before = upper && upper !== old[0] ? { id: rowId(upper), top: upper.getBoundingClientRect().top } : null;
    const ids = new Set(rows(fresh).map(rowId));
    const table = fresh.querySelector("#result_list");
    // Those that have moved to the next page stay where they can be seen.
    for (const row of old) if (table && !ids.has(rowId(row))) table.append(row);
    form.replaceChildren(...fresh.childNodes);
    for (const row of rows(form)) {
      const box = row.querySelector(".action-select");
      if (box) box.checked = selected.has(rowId(row));
    }
    const parent = form.closest(".result-list-wrapper");
    const boxes = parent.querySelectorAll("tr input.action-select");
    if (boxes.length && window.Actions) window.Actions(boxes, { parent });
    document.querySelector(".action-select:checked")?.dispatchEvent(new Event("change", { bubbles: true }));
    return before;
  }

  /* Once the table is laid out, the row that was uppermost is put where it was; at the list's top, new rows come in. */
  function keepPlace(before) {
    const same = before && rows(form).find((row) => rowId(row) === before.id);
    if (same) window.scrollBy({ top: same.getBoundingClientRect().top - before.top, behavior: "instant" });
    form.querySelector("#result_list a[href*='/change/']")?.focus({ preventScroll: true });
  }

  async function show() {
    const answer = await fetch(location.href);
    if (!answer.ok || answer.redirected) {
      location.reload();
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("#changelist-form");
    if (!fresh) {
      location.reload();
      return;
    }
    const before = exchange(document.importNode(fresh, true));
    button.hidden = true;
    requestAnimationFrame(() => requestAnimationFrame(() => keepPlace(before)));
  }

  for (const sign of ["pointermove", "keydown", "scroll"]) document.addEventListener(sign, () => (used = Date.now()), { passive: true });
  button.addEventListener("click", () => show().catch(() => location.reload()));
  // Who comes back to the page sees at once. Without a network the next look will tell.
  window.addEventListener("focus", () => {
    used = Date.now();
    look().catch(() => {});
  });
  setInterval(() => look().catch(() => {}), LOOK_SECONDS * 1000);
});
