// Keys of the rating page. They press what stands on the page, so that whatever a key does a click does too.
window.rating = (() => {
  const NAME = "auto-instruct-rater";
  const WORDS = { y: "yes", n: "no", u: "cannot tell" };
  const BUTTONS = { Enter: "save", s: "skip", b: "back" };
  let current = 0;
  let waiting = false;
  let timer = 0;

  const groups = () => [...document.querySelectorAll("#questions fieldset")];
  const answered = (group) => group.querySelector("input:checked") !== null;
  const typing = (element) =>
    element !== null && (element.isContentEditable || element.tagName === "TEXTAREA"
      || (element.tagName === "INPUT" && element.type !== "radio"));

  function mark(index) {
    current = index;
    groups().forEach((group, at) => {
      group.classList.toggle("current", at === current);
      group.setAttribute("aria-current", at === current ? "step" : "false");
    });
  }

  // What a model wrote is seen to its end, however wide the page.
  function fit() {
    document.querySelectorAll("#instance textarea").forEach((area) => {
      area.style.height = "auto";
      area.style.height = `${area.scrollHeight + 2}px`;
    });
  }

  // The first question without an answer behind the one just answered, else the first of all, else none.
  function advance() {
    const open = groups().map((group, at) => (answered(group) ? -1 : at)).filter((at) => at >= 0);
    mark(open.find((at) => at > current) ?? open[0] ?? -1);
  }

  function answer(word) {
    const group = groups()[current];
    const choice = group && [...group.querySelectorAll("input")].find((input) => input.value === word);
    if (choice?.checked) advance();
    else choice?.click(); // "change" below goes on
  }

  // Until the next item stands there keys are let pass: nobody can have judged what they have not seen.
  function press(id) {
    const button = document.getElementById(id);
    if (button && button.offsetParent !== null) {
      waiting = true;
      clearTimeout(timer);
      timer = setTimeout(() => { waiting = false; }, 5000); // the server is gone: let them try again
      button.click();
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const focused = document.activeElement;
    if (typing(focused)) {
      if (event.key === "Escape") focused.blur();
      return;
    }
    if (event.repeat || waiting || !document.getElementById("desk")?.offsetParent) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "Enter" && focused?.closest("button, a, summary")) return; // it is pressed itself
    const number = "123456789".indexOf(key);
    if (key in WORDS) answer(WORDS[key]);
    else if (number >= 0) markNumber(number + 1);
    else if (key === "c") document.querySelector("#note textarea, #note input")?.focus();
    else if (key in BUTTONS) press(BUTTONS[key]);
    else return;
    event.preventDefault();
  });

  // Questions keep their numbers where one of them is not asked.
  function markNumber(number) {
    const at = groups().findIndex((group) => group.innerText.trim().startsWith(`${number}.`));
    if (at >= 0) mark(at);
  }

  window.addEventListener("resize", fit);
  document.addEventListener("change", (event) => {
    const at = groups().findIndex((group) => group.contains(event.target));
    if (at >= 0 && !waiting) {
      current = at;
      advance();
    }
  });

  return {
    recall: () => localStorage.getItem(NAME) ?? "",
    remember: (name) => {
      localStorage.setItem(NAME, name);
      return name;
    },
    forget: () => localStorage.removeItem(NAME),
    // Two frames: the page has been drawn anew by then.
    ready: () => requestAnimationFrame(() => requestAnimationFrame(() => {
      clearTimeout(timer);
      const shown = document.querySelector("#progress [data-position]")?.dataset.position;
      document.body.dataset.ready = String(Number(document.body.dataset.ready ?? 0) + 1);
      waiting = false;
      if (shown !== document.body.dataset.shown) {
        document.body.dataset.shown = shown;
        document.activeElement?.blur();
        window.scrollTo(0, 0);
      }
      groups().forEach((group) => group.setAttribute("aria-label", group.querySelector("span").innerText));
      fit();
      current = -1;
      advance();
    })),
  };
})();
