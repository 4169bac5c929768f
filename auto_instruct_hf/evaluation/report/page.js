"use strict";
// The page can be read without this: it only narrows down what is shown.
(() => {
  const form = document.getElementById("narrow");
  if (!form) return;
  form.hidden = false;
  const groups = [...document.querySelectorAll("details.topic")];
  const told = document.getElementById("told");
  const narrow = () => {
    const which = new FormData(form).get("which");
    const words = document.getElementById("words").value.trim().toLowerCase();
    let count = 0;
    for (const group of groups) {
      let own = 0;
      for (const one of group.querySelectorAll("article")) {
        const fits = (which === "all" || one.dataset[which] === "1")
          && (!words || one.textContent.toLowerCase().includes(words));
        one.hidden = !fits;
        own += fits ? 1 : 0;
      }
      group.hidden = own === 0;
      if (which !== "all" || words) group.open = own > 0;
      count += own;
    }
    told.textContent = count + (count === 1 ? " instance" : " instances");
  };
  form.addEventListener("input", narrow);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("unfold").addEventListener("click", () => {
    const open = groups.some((group) => !group.hidden && !group.open);
    for (const group of groups) group.open = open;
  });
  narrow();
})();
