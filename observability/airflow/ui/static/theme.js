// Follow Airflow's own light or dark theme (next-themes keeps it in localStorage), else the system's.
(() => {
  const chosen = localStorage.getItem("theme");
  const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  addEventListener("storage", (event) => { if (event.key === "theme") location.reload(); });
})();
