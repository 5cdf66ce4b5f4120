"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  const button = document.getElementById("theme");
  const stored = {
    get: () => { try { return localStorage.getItem("gradparity-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("gradparity-theme", value); } catch { /* not kept: a file may not store */ } },
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const showTheme = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };
  if (stored.get()) root.dataset.theme = stored.get();
  button.removeAttribute("aria-pressed");
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    stored.set(root.dataset.theme);
    showTheme();
  });
  system.addEventListener("change", showTheme);
  showTheme();

  const form = document.getElementById("filters");
  const selects = [...form.querySelectorAll("select")];
  const sheet = document.getElementById("filtered");
  const rows = [...document.querySelectorAll(".cells tbody tr")];
  const count = document.getElementById("count");

  // Whatever is about one engine, scenario, dtype or verdict says so in an attribute; a rule hides what does not fit.
  const apply = () => {
    const chosen = selects.filter((select) => select.value);
    sheet.textContent = chosen
      .map(({ name, value }) => `[data-${name}]:not([data-${name}~="${value}"]) { display: none !important; }`)
      .join("\n");
    const shown = rows.filter((row) => chosen.every(({ name, value }) => row.dataset[name] === value)).length;
    count.textContent = `${shown} of ${rows.length} cells`;
  };

  // The address holds where one is and what is filtered: #xor-500&engine=torch
  const anchor = () => location.hash.slice(1).split("&")[0];
  const write = () => {
    const words = selects
      .filter((select) => select.value)
      .map((select) => `${select.dataset.word}=${encodeURIComponent(select.selectedOptions[0].textContent.trim())}`);
    history.replaceState(null, "", `#${[anchor(), ...words].join("&")}`);
  };
  const read = () => {
    const asked = new URLSearchParams(location.hash.slice(1).split("&").slice(1).join("&"));
    for (const select of selects) {
      const wanted = asked.get(select.dataset.word);
      const option = [...select.options].find((o) => o.textContent.trim() === wanted);
      if (option) select.value = option.value;
    }
    apply();
    const target = anchor() && document.getElementById(anchor());
    if (target) target.scrollIntoView();
  };
  form.addEventListener("change", () => { apply(); write(); });
  form.addEventListener("reset", () => setTimeout(() => { apply(); write(); }));
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", read);
  read();
})();
