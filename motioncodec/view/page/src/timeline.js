// Error (or, of a clip alone, speed) over time: a curve, and beneath it a row for each joint.

import { errorColour } from "./stage.js";

export class Timeline {
  constructor(canvas, clip) {
    this.canvas = canvas;
    this.clip = clip;
    this.#sum();
  }

  #sum() {
    const { frames, people, joints, errors, sides } = this.clip;
    this.mean = new Float32Array(frames);
    this.max = new Float32Array(frames);
    this.rows = new Float32Array(frames * joints);
    if (errors) {
      for (let f = 0; f < frames; f += 1) {
        let sum = 0, count = 0;
        for (let i = 0; i < people * joints; i += 1) {
          const value = errors.values[f * people * joints + i];
          if (value === errors.missing) continue;
          const error = value * errors.scale;
          sum += error;
          count += 1;
          this.max[f] = Math.max(this.max[f], error);
          const at = f * joints + (i % joints);
          this.rows[at] = Math.max(this.rows[at], error);
        }
        this.mean[f] = count ? sum / count : 0;
      }
      this.top = errors.top;
      return;
    }
    const { dims, scale, rate } = this.clip;
    const { points, there } = sides[0];
    for (let f = 1; f < frames; f += 1) {
      let sum = 0, count = 0;
      for (let i = 0; i < people * joints; i += 1) {
        const here = f * people * joints + i, before = here - people * joints;
        if (!there[here] || !there[before]) continue;
        let square = 0;
        for (let d = 0; d < dims; d += 1) square += (points[here * dims + d] - points[before * dims + d]) ** 2;
        const speed = Math.sqrt(square) * scale * rate;
        sum += speed;
        count += 1;
        this.max[f] = Math.max(this.max[f], speed);
        const at = f * joints + (i % joints);
        this.rows[at] = Math.max(this.rows[at], speed);
      }
      this.mean[f] = count ? sum / count : 0;
    }
    const sorted = Float32Array.from(this.max).sort();
    this.top = sorted[Math.floor(0.99 * (frames - 1))] || 1;
  }

  worst() {
    let best = 0;
    for (let f = 1; f < this.max.length; f += 1) if (this.max[f] > this.max[best]) best = f;
    return best;
  }

  frameAt(x) {
    const share = Math.max(0, Math.min(1, x / Math.max(this.canvas.clientWidth, 1)));
    return Math.min(this.clip.frames - 1, Math.floor(share * this.clip.frames));
  }

  #background(w, h, ratio, dark) {
    const { frames, joints } = this.clip;
    const key = `${w} ${h} ${ratio} ${dark}`;
    if (this.key === key) return;
    this.key = key;
    this.picture = document.createElement("canvas");
    this.picture.width = w * ratio;
    this.picture.height = h * ratio;
    const context = this.picture.getContext("2d");
    context.scale(ratio, ratio);
    const curve = Math.round(h * 0.5);
    const strip = h - curve - 4;
    const peak = Math.max(...this.max.subarray(0, 200000)) || 1;
    const draw = (values, style, fill) => {
      context.beginPath();
      for (let x = 0; x <= w; x += 1) {
        const from = Math.floor((x / w) * frames);
        const till = Math.max(from + 1, Math.floor(((x + 1) / w) * frames));
        let top = 0;
        for (let f = from; f < Math.min(till, frames); f += 1) top = Math.max(top, values[f]);
        const y = curve - 2 - (top / peak) * (curve - 8);
        if (x) context.lineTo(x, y); else context.moveTo(x, y);
      }
      if (fill) {
        context.lineTo(w, curve);
        context.lineTo(0, curve);
        context.fillStyle = style;
        context.fill();
      } else {
        context.strokeStyle = style;
        context.lineWidth = 1.5;
        context.stroke();
      }
    };
    draw(this.max, dark ? "rgba(148,163,184,0.28)" : "rgba(100,116,139,0.22)", true);
    draw(this.mean, dark ? "#7cb0ff" : "#2563eb", false);
    const rows = Math.min(joints, Math.max(1, Math.floor(strip)));
    const image = document.createElement("canvas");
    image.width = Math.min(frames, w * 2);
    image.height = rows;
    const cells = image.getContext("2d");
    const data = cells.createImageData(image.width, rows);
    const heat = new Float32Array(image.width * rows);
    for (let x = 0; x < image.width; x += 1) {
      const from = Math.floor((x / image.width) * frames);
      const till = Math.max(from + 1, Math.floor(((x + 1) / image.width) * frames));
      for (let f = from; f < till; f += 1) {
        for (let joint = 0; joint < joints; joint += 1) {
          const at = Math.floor((joint / joints) * rows) * image.width + x;
          heat[at] = Math.max(heat[at], this.rows[f * joints + joint]);
        }
      }
    }
    const low = dark ? [30, 36, 45] : [233, 237, 242];
    for (let i = 0; i < heat.length; i += 1) {
      const share = Math.min(1, heat[i] / this.top);
      const colour = errorColour(share);
      const weight = Math.min(1, share * 2.5);
      for (let c = 0; c < 3; c += 1) data.data[4 * i + c] = low[c] + (colour[c] - low[c]) * weight;
      data.data[4 * i + 3] = 255;
    }
    cells.putImageData(data, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, curve + 4, w, strip);
    this.peak = peak;
  }

  draw(frame, dark) {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    if (!w || !h) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.#background(w, h, ratio, dark);
    if (this.canvas.width !== w * ratio) this.canvas.width = w * ratio;
    if (this.canvas.height !== h * ratio) this.canvas.height = h * ratio;
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.picture, 0, 0);
    context.scale(ratio, ratio);
    const x = ((frame + 0.5) / this.clip.frames) * w;
    context.fillStyle = dark ? "#f1f5f9" : "#0f172a";
    context.fillRect(Math.round(x) - 0.75, 0, 1.5, h);
  }
}
