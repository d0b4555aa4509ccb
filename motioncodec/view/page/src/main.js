import { load } from "./data.js";
import { Planes } from "./planes.js";
import { Stage, personColour } from "./stage.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];
const number = (value, digits = 1) =>
  value === null || value === undefined || !Number.isFinite(value) ? "–"
    : value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });

class Viewer {
  constructor(clip) {
    this.clip = clip;
    this.frame = 0;
    this.speed = 1;
    this.playing = false;
    this.person = 0;
    this.timeline = new Timeline($("timeline"), clip);
    this.planes = new Planes($("planes"), clip);
    try {
      this.stage = new Stage($("stage"), clip);
    } catch (error) {
      this.stage = null;
      $("no-webgl").hidden = false;
    }
    this.#labels();
    this.#people();
    this.#controls();
    this.theme(matchMedia("(prefers-color-scheme: dark)").matches);
    new ResizeObserver(() => this.redraw()).observe($("stage"));
    new ResizeObserver(() => this.timeline.draw(this.frame, this.dark)).observe($("timeline"));
    this.seek(0);
    document.body.dataset.ready = "yes";
  }

  #labels() {
    const { clip } = this;
    document.title = clip.title;
    $("title").textContent = clip.title;
    $("subtitle").textContent = clip.subtitle;
    for (const [name, value] of clip.figures) {
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = name;
      text.textContent = value;
      $("figures").append(term, text);
    }
    $("scrub").max = clip.frames - 1;
    $("curve-name").textContent = clip.errors
      ? `Error over time (${clip.unit}): mean as a line, largest as the shade; below, a row a joint`
      : "Speed over time: mean as a line, largest as the shade; below, a row a joint";
    for (const id of ["overlay", "worst"]) $(id).hidden = clip.sides.length < 2;
    $("now-row").hidden = !clip.errors;
    $("planes-box").hidden = !clip.placed.joints;
  }

  #people() {
    this.clip.ids.forEach((id, person) => {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      box.addEventListener("change", () => {
        if (this.stage) this.stage.shown[person] = box.checked;
        this.redraw();
      });
      const mark = document.createElement("i");
      mark.style.background = personColour(person);
      label.append(box, mark, id);
      $("people").append(label);
    });
    $("people-box").hidden = this.clip.ids.length < 2;
  }

  #controls() {
    const does = {
      play: () => this.play(!this.playing),
      back: () => this.step(-1),
      next: () => this.step(1),
      worst: () => this.worst(),
      overlay: () => this.overlay(),
      home: () => { this.stage?.home(); this.redraw(); },
      dark: () => this.theme(!this.dark),
      help: () => this.help(),
    };
    for (const [id, action] of Object.entries(does)) $(id).addEventListener("click", action);
    $("scrub").addEventListener("input", (event) => {
      this.play(false);
      this.seek(Number(event.target.value));
    });
    for (const value of SPEEDS) $("speed").append(new Option(`${value}×`, value, value === 1, value === 1));
    $("speed").addEventListener("change", (event) => { this.speed = Number(event.target.value); });
    $("close").addEventListener("click", () => this.help());
    const keys = {
      " ": does.play, ArrowLeft: (e) => this.step(e.shiftKey ? -10 : -1),
      ArrowRight: (e) => this.step(e.shiftKey ? 10 : 1), Home: () => this.seek(0),
      End: () => this.seek(this.clip.frames - 1), w: does.worst, o: does.overlay, d: does.dark,
      r: does.home, "?": does.help, "+": () => this.faster(1), "-": () => this.faster(-1),
      Escape: () => $("keys").open && $("keys").close(),
    };
    document.addEventListener("keydown", (event) => {
      const typing = /^(SELECT|INPUT)$/.test(event.target.tagName) && event.target.type !== "range";
      const pressing = event.target.tagName === "BUTTON" && event.key === " ";
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (event.ctrlKey || event.metaKey || event.altKey || typing || pressing || !keys[key]) return;
      event.preventDefault();
      keys[key](event);
    });
    const strip = $("timeline");
    const seek = (event) => this.seek(this.timeline.frameAt(event.clientX - strip.getBoundingClientRect().left));
    strip.addEventListener("pointerdown", (event) => {
      this.play(false);
      strip.setPointerCapture(event.pointerId);
      seek(event);
    });
    strip.addEventListener("pointermove", (event) => { if (event.buttons) seek(event); });
    $("stage").addEventListener("pointermove", (event) => this.#hover(event));
    $("stage").addEventListener("pointerleave", () => { $("tip").hidden = true; });
  }

  #hover(event) {
    const box = $("stage").getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    const found = event.buttons ? null : this.stage?.pick(x, y);
    $("tip").hidden = !found;
    if (!found) return;
    const { clip } = this;
    const parts = [clip.names[found.joint]];
    if (clip.ids.length > 1) parts.unshift(clip.ids[found.person]);
    if (clip.sides.length > 1) parts.push(clip.sides[found.side].name);
    if (clip.errors) {
      const value = clip.errors.values[(this.frame * clip.people + found.person) * clip.joints + found.joint];
      if (value !== clip.errors.missing) parts.push(`${number(value * clip.errors.scale)} ${clip.unit}`);
    }
    $("tip").textContent = parts.join(" · ");
    $("tip").style.left = `${Math.min(x + 14, box.width - 200)}px`;
    $("tip").style.top = `${y + 12}px`;
    if (found.person !== this.person) {
      this.person = found.person;
      this.planes.draw(this.frame, this.person, this.dark);
    }
  }

  theme(dark) {
    this.dark = dark;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    $("dark").textContent = dark ? "Light" : "Dark";
    this.stage?.theme(dark ? "dark" : "light");
    this.redraw();
  }

  overlay() {
    if (!this.stage || this.clip.sides.length < 2) return;
    this.stage.overlay = !this.stage.overlay;
    $("overlay").textContent = this.stage.overlay ? "Side by side" : "Overlay";
    this.#names();
    this.redraw();
  }

  #names() {
    const both = this.clip.sides.length > 1;
    const apart = both && this.stage && !this.stage.overlay;
    $("name-a").hidden = !both;
    $("name-b").hidden = !both;
    $("name-a").textContent = both ? this.clip.sides[0].name : "";
    $("name-b").textContent = both ? this.clip.sides[1].name : "";
    $("name-b").style.left = apart ? "50%" : "";
    document.body.dataset.view = apart ? "apart" : "overlay";
  }

  help() {
    if ($("keys").open) $("keys").close(); else $("keys").showModal();
  }

  faster(by) {
    const at = Math.max(0, Math.min(SPEEDS.length - 1, SPEEDS.indexOf(this.speed) + by));
    this.speed = SPEEDS[at];
    $("speed").value = this.speed;
  }

  worst() {
    if (!this.clip.errors) return;
    this.play(false);
    this.seek(this.timeline.worst());
  }

  step(by) {
    this.play(false);
    this.seek(this.frame + by);
  }

  play(on) {
    if (on === this.playing) return;
    this.playing = on;
    $("play").textContent = on ? "Pause" : "Play";
    $("play").setAttribute("aria-pressed", on);
    if (!on) return;
    if (this.frame >= this.clip.frames - 1) this.seek(0);
    let last = performance.now(), exact = this.frame;
    const tick = (now) => {
      if (!this.playing) return;
      exact += ((now - last) / 1000) * this.clip.rate * this.speed;
      last = now;
      if (exact >= this.clip.frames) exact %= this.clip.frames;
      if (Math.floor(exact) !== this.frame) this.seek(Math.floor(exact));
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  seek(frame) {
    const { clip } = this;
    this.frame = Math.max(0, Math.min(clip.frames - 1, frame));
    $("scrub").value = this.frame;
    $("frame").textContent = `${this.frame + clip.first} / ${clip.frames + clip.first - 1}`;
    $("time").textContent = `${((this.frame + clip.first) / clip.rate).toFixed(2)} s`;
    $("scrub").setAttribute("aria-valuetext", `frame ${this.frame + clip.first}`);
    if (clip.errors) {
      $("now").textContent =
        `${number(this.timeline.mean[this.frame])} mean, ${number(this.timeline.max[this.frame])} largest (${clip.unit})`;
    }
    document.body.dataset.frame = this.frame;
    this.redraw();
  }

  redraw() {
    if (this.dark === undefined) return;
    this.#names();
    this.stage?.pose(this.frame);
    this.timeline.draw(this.frame, this.dark);
    if (this.clip.placed.joints) this.planes.draw(this.frame, this.person, this.dark);
  }
}

load().then((clip) => { window.viewer = new Viewer(clip); }).catch((error) => {
  $("no-webgl").hidden = false;
  $("no-webgl").textContent = `This page needs a browser of 2023 or later (${error}).`;
});
