// Asks for the progress panel of an account again every few seconds while somebody looks at it.
"use strict";
(() => {
  const panel = document.getElementById("progress");
  if (!panel) return;
  const refresh = async () => {
    if (document.hidden) return;
    const response = await fetch(panel.dataset.url, { redirect: "error" });
    if (response.ok) panel.innerHTML = await response.text();
  };
  setInterval(() => refresh().catch(() => {}), 3000);
})();
