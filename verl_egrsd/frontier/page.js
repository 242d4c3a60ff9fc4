"use strict";
/** Shows the numbers of the point that the mouse is on, and marks its row; a row marks its point. */
const rows = JSON.parse(document.getElementById("rows").textContent);
const tip = document.getElementById("tip");
rows.forEach((row, i) => {
  const point = document.getElementById("point-" + i);
  const line = document.querySelector(`tr[data-point="${i}"]`);
  const text = [row.name, row.accuracy, row.length, "Eff " + row.efficiency, row.front].filter(Boolean).join("\n");
  const show = (event) => {
    tip.textContent = text;
    tip.style.display = "block";
    tip.style.left = Math.max(0, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 14)) + "px";
    tip.style.top = Math.max(0, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 14)) + "px";
    line.classList.add("chosen");
  };
  point.addEventListener("pointermove", show);
  point.addEventListener("pointerleave", () => { tip.style.display = "none"; line.classList.remove("chosen"); });
  line.addEventListener("pointerenter", () => point.classList.add("chosen"));
  line.addEventListener("pointerleave", () => point.classList.remove("chosen"));
});
