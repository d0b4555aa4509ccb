// What the network sees: the joints of one person as Gaussians on the codec's planes.

const SIZE = 64;

export class Planes {
  constructor(box, clip) {
    this.clip = clip;
    this.canvases = clip.placed.planes.map(({ name }) => {
      const figure = document.createElement("figure");
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = SIZE;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Heatmap plane ${name}`);
      const caption = document.createElement("figcaption");
      caption.textContent = name;
      figure.append(canvas, caption);
      box.append(figure);
      return canvas;
    });
    this.sum = new Float32Array(SIZE * SIZE);
  }

  draw(frame, person, dark) {
    const { people, dims, placed } = this.clip;
    const reach = Math.ceil(4 * placed.sigma);
    placed.planes.forEach(({ axes: [u, v] }, plane) => {
      this.sum.fill(0);
      for (let joint = 0; joint < placed.joints; joint += 1) {
        const i = ((frame * people + person) * placed.joints + joint) * dims;
        if (placed.points[i] === placed.missing) continue;
        const pixel = (axis, sign) =>
          ((sign * placed.points[i + axis] * placed.scale / placed.extent + 1) * SIZE) / 2 - 0.5;
        const cu = pixel(u, 1), cv = pixel(v, 1);
        for (let y = Math.max(0, Math.floor(cv) - reach); y < Math.min(SIZE, cv + reach + 1); y += 1) {
          for (let x = Math.max(0, Math.floor(cu) - reach); x < Math.min(SIZE, cu + reach + 1); x += 1) {
            const d = ((x - cu) ** 2 + (y - cv) ** 2) / (2 * placed.sigma ** 2);
            const at = y * SIZE + x;
            this.sum[at] = Math.max(this.sum[at], Math.exp(-d));
          }
        }
      }
      const context = this.canvases[plane].getContext("2d");
      const image = context.createImageData(SIZE, SIZE);
      for (let y = 0; y < SIZE; y += 1) {
        for (let x = 0; x < SIZE; x += 1) {
          // Rows count upwards in space, downwards in pictures; heights go up in either.
          const row = this.clip.placed.planes[plane].flip ? SIZE - 1 - y : y;
          const heat = this.sum[row * SIZE + x];
          const to = 4 * (y * SIZE + x);
          const [from, till] = dark ? [[24, 29, 37], [250, 204, 120]] : [[255, 255, 255], [30, 64, 175]];
          for (let c = 0; c < 3; c += 1) image.data[to + c] = from[c] + (till[c] - from[c]) * heat;
          image.data[to + 3] = 255;
        }
      }
      context.putImageData(image, 0, 0);
    });
  }
}
