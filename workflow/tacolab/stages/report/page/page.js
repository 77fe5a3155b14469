// The gallery's slider: two pictures over each other, divided where the mouse, a finger or the
// range input says. Without scripts the pictures below it stand side by side.
for (const photo of document.querySelectorAll(".photo")) {
  const figures = [...photo.querySelectorAll(".strip figure")];
  const viewer = photo.querySelector(".viewer");
  const layers = viewer.querySelector(".layers");
  const images = layers.querySelectorAll("img");
  const divider = viewer.querySelector(".divider");
  const picks = [...viewer.querySelectorAll("select[data-side]")];
  const sides = viewer.querySelectorAll(".sides > div");

  const show = (side) => {
    const figure = figures[picks[side].value];
    const image = figure.querySelector("img");
    images[side].src = image.getAttribute("src");
    images[side].alt = image.alt;
    sides[side].replaceChildren(figure.querySelector("figcaption").cloneNode(true));
    divider.setAttribute("aria-valuetext",
      `${divider.value} % ${picks[0].selectedOptions[0].text}, rest ${picks[1].selectedOptions[0].text}`);
  };
  const divide = () => {
    layers.style.setProperty("--at", `${divider.value}%`);
    show(0);
  };
  picks.forEach((pick, side) => pick.addEventListener("change", () => show(side)));
  divider.addEventListener("input", divide);

  const follow = (event) => {
    if (event.pointerType === "mouse" && !event.buttons) return;
    const box = layers.getBoundingClientRect();
    divider.value = Math.round(100 * (event.clientX - box.left) / box.width);
    divide();
  };
  layers.addEventListener("pointerdown", follow);
  layers.addEventListener("pointermove", follow);
  layers.addEventListener("dragstart", (event) => event.preventDefault());

  viewer.querySelector("select[data-zoom]").addEventListener("change", (event) => {
    const zoom = Number(event.target.value);
    layers.style.width = zoom ? `${zoom * layers.dataset.width}px` : "";
    viewer.classList.toggle("zoomed", zoom > 0);
    layers.classList.toggle("big", zoom > 1);
  });

  viewer.hidden = false;
  photo.querySelector("details").open = false;
  show(0);
  show(1);
}
