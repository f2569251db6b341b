/* The rows of conditions in a mapping's form, without loading the page anew. Without this file the buttons ask the
   server for the same. */
"use strict";

(() => {
    const MOST = 999;

    function numbered(template, numbers) {
        const copy = template.content.cloneNode(true);
        const replace = (text) => text.replace("GROUP", numbers.group).replace("ROW", numbers.row);
        for (const element of copy.querySelectorAll("[name], [value], [data-group-number], [data-row-number]")) {
            for (const attribute of ["name", "value", "data-group-number", "data-row-number"]) {
                if (element.hasAttribute(attribute)) {
                    element.setAttribute(attribute, replace(element.getAttribute(attribute)));
                }
            }
        }
        return copy.firstElementChild;
    }

    function next(elements, attribute) {
        const numbers = [...elements].map((element) => Number(element.getAttribute(attribute)));
        return Math.min(Math.max(-1, ...numbers) + 1, MOST);
    }

    /* Offers only the comparisons that fit what the condition is about, and a value only where one is compared. */
    function fit(row) {
        const [field, test] = row.querySelectorAll("select");
        const value = row.querySelector("input");
        const chosen = field.selectedOptions[0];
        const fitting = chosen && chosen.dataset.tests ? chosen.dataset.tests.split(" ") : null;
        for (const option of test.options) {
            option.hidden = option.disabled = fitting !== null && !fitting.includes(option.value);
        }
        if (fitting !== null && !fitting.includes(test.value)) {
            test.value = fitting[0];
        }
        value.placeholder = (chosen && chosen.dataset.example) || "";
        value.classList.toggle("cb-not-needed", test.selectedOptions[0].hasAttribute("data-alone"));
    }

    function addRow(whole, group) {
        const rows = group.querySelector("[data-rows]");
        const numbers = {group: group.dataset.groupNumber, row: next(rows.children, "data-row-number")};
        const row = numbered(whole.querySelector("template[data-row]"), numbers);
        rows.append(row);
        fit(row);
        return row;
    }

    function addGroup(whole) {
        const groups = whole.querySelector("[data-groups]");
        const number = next(groups.children, "data-group-number");
        const group = numbered(whole.querySelector("template[data-group]"), {group: number, row: 0});
        groups.append(group);
        return addRow(whole, group);
    }

    function remove(whole, button) {
        const row = button.closest(".cb-condition");
        const group = row.closest(".cb-group");
        row.remove();
        const isLastOfMany = !group.querySelector(".cb-condition") && whole.querySelectorAll(".cb-group").length > 1;
        const stays = isLastOfMany ? whole : group;
        if (isLastOfMany) {
            group.remove();
        }
        return stays.querySelector(".cb-condition select, button[name=_rows][value^=add]");
    }

    function pressed(whole, event) {
        const button = event.target.closest("button[name=_rows]");
        if (!button) {
            return;
        }
        event.preventDefault();
        let focused;
        if (button.value.startsWith("remove")) {
            focused = remove(whole, button);
        } else if (button.value.startsWith("add")) {
            focused = addRow(whole, button.closest(".cb-group")).querySelector("select");
        } else {
            focused = addGroup(whole).querySelector("select");
        }
        whole.querySelector("[data-between]").hidden = whole.querySelectorAll(".cb-group").length < 2;
        if (focused) {
            focused.focus();
        }
    }

    function begin() {
        for (const whole of document.querySelectorAll("[data-conditions]")) {
            whole.querySelectorAll(".cb-condition").forEach(fit);
            whole.addEventListener("click", (event) => pressed(whole, event));
            whole.addEventListener("change", (event) => {
                const row = event.target.closest(".cb-condition");
                if (row) {
                    fit(row);
                }
            });
        }
    }

    if (document.readyState === "loading") {
        document.addEventListener("DOMContentLoaded", begin);
    } else {
        begin();
    }
})();
