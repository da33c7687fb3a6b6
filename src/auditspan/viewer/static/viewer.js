"use strict";

// Everything works without this file. It adds: j and k to move through the events, / to search,
// and a button that copies the id beside it.

function isTyping(target) {
  return target.matches("input, select, textarea");
}

function move(step) {
  const links = [...document.querySelectorAll("[data-row]")];
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step;
  links[Math.min(Math.max(next, 0), links.length - 1)].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "/") {
    const search = document.getElementById("text");
    if (!search) return;
    event.preventDefault();
    search.focus();
  }
});

function addCopyButton(element) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "bare";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy " + element.dataset.copy);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(element.textContent.trim());
    button.textContent = "Copied";
  });
  (element.closest("a") || element).after(" ", button);
}

if (navigator.clipboard) document.querySelectorAll("[data-copy]").forEach(addCopyButton);
