/* Forms show what applies, and bring what a choice makes possible. Without this file everything is shown, and a button
   brings the account's lists. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  /* A field that makes sense with some choices of another is shown with those alone. */
  for (const field of document.querySelectorAll("[data-shown-with]")) {
    const row = field.closest(".form-row, .field-row") || field.parentElement;
    const other = field.form && field.form.elements[field.dataset.shownWith];
    if (!other) continue;
    const show = () => {
      // What the server found wrong with it stays in sight.
      const hasErrors = row.querySelector(".errorlist") !== null;
      row.hidden = !hasErrors && !field.dataset.shownFor.split(" ").includes(other.value);
    };
    other.addEventListener("change", show);
    show();
  }

  /* Another connection offers other lists: the form comes back with them, and with all that was typed. */
  const connection = document.querySelector("select[name=connection][data-brings-lists]");
  if (connection) {
    connection.addEventListener("change", () => {
      const button = document.createElement("button");
      button.type = "submit";
      button.name = "_chosen";
      button.value = "1";
      button.hidden = true;
      button.formNoValidate = true;
      connection.form.append(button);
      connection.form.requestSubmit(button);
    });
  }
});
