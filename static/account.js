// Offers the time zone of this browser, where it is not the one chosen.
document.addEventListener("DOMContentLoaded", () => {
  const place = document.querySelector("#cb-own-zone");
  const select = document.querySelector("#id_time_zone");
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!place || !select || select.value === own || ![...select.options].some((option) => option.value === own)) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "cb-link";
  button.textContent = `Use this browser's: ${own.replaceAll("_", " ")}`;
  button.addEventListener("click", () => {
    select.value = own;
    button.remove();
  });
  place.append(button);
});
