// Runs before the page is painted, so that a chosen colour scheme does not flash.
try {
  const chosen = localStorage.getItem("mien-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // storage is switched off: the system's colours are used
}
