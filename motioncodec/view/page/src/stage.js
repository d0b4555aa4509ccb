// The skeletons in space: one scene, drawn once over each other or twice side by side.

import {
  AmbientLight, BoxGeometry, Color, CylinderGeometry, DirectionalLight, DynamicDrawUsage,
  GridHelper, InstancedMesh, Matrix4, MeshLambertMaterial, MeshBasicMaterial, OrthographicCamera,
  PerspectiveCamera, Quaternion, Scene, SphereGeometry, Vector3, WebGLRenderer, LineSegments,
  EdgesGeometry, LineBasicMaterial,
} from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";

const NOWHERE = new Matrix4().makeScale(0, 0, 0);
const UP = new Vector3(0, 1, 0);
const PEOPLE = [0x2563eb, 0xd97706, 0x059669, 0xdb2777, 0x7c3aed, 0x0891b2, 0x65a30d, 0xdc2626];
const GREY = { light: 0x94a3b8, dark: 0x7b8794 };
const PAPER = { light: 0xf6f7f9, dark: 0x12161c };
const LINES = { light: 0xd5dae1, dark: 0x2a313b };

export const personColour = (person) => `#${PEOPLE[person % PEOPLE.length].toString(16).padStart(6, "0")}`;

// From even (0) to far off (1): blue-green, amber, red.
export function errorColour(share) {
  const t = Math.max(0, Math.min(1, share));
  return t < 0.5
    ? [20 + 2 * t * 225, 160 + 2 * t * 20, 130 - 2 * t * 100]
    : [245 - (2 * t - 1) * 15, 180 - (2 * t - 1) * 142, 30 + (2 * t - 1) * 8];
}

export class Stage {
  constructor(canvas, clip) {
    this.canvas = canvas;
    this.clip = clip;
    this.flat = clip.dims === 2;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, preserveDrawingBuffer: true });
    this.renderer.setScissorTest(true);
    this.scene = new Scene();
    this.scene.add(new AmbientLight(0xffffff, 1.6));
    const sun = new DirectionalLight(0xffffff, 1.8);
    sun.position.set(2, 5, 3);
    this.scene.add(sun);
    this.sides = clip.sides.map((side, i) => this.#actors(i));
    this.shown = clip.ids.map(() => true);
    this.overlay = clip.sides.length > 1;
    this.errors = true;
    this.#cameras();
  }

  #actors(index) {
    const { people, joints, bones } = this.clip;
    const thin = index === 0 && this.clip.sides.length > 1 ? 0.8 : 1;
    const ball = new InstancedMesh(
      new SphereGeometry(0.021 * thin * this.clip.dot, 16, 12),
      this.flat ? new MeshBasicMaterial() : new MeshLambertMaterial(), people * joints);
    const rod = new InstancedMesh(
      new CylinderGeometry(0.0115 * thin, 0.0115 * thin, 1, 10),
      this.flat ? new MeshBasicMaterial() : new MeshLambertMaterial(), people * bones.length);
    for (const mesh of [ball, rod]) {
      mesh.instanceMatrix.setUsage(DynamicDrawUsage);
      mesh.frustumCulled = false;
      // Makes room for a colour of each instance.
      for (let i = 0; i < mesh.count; i += 1) mesh.setColorAt(i, new Color(0xffffff));
      this.scene.add(mesh);
    }
    return { ball, rod };
  }

  #cameras() {
    const { centre, reach, floor } = this.clip;
    this.target = new Vector3(centre[0], centre[1], this.flat ? 0 : centre[2]);
    if (this.flat) {
      this.camera = new OrthographicCamera(-1, 1, 1, -1, 0.1, 1000);
      const [w, h] = this.clip.box;
      const frame = new LineSegments(
        new EdgesGeometry(new BoxGeometry(w, h, 0.001)), new LineBasicMaterial());
      frame.position.set(this.target.x, this.target.y, -0.5);
      this.scene.add(frame);
      this.lines = frame;
    } else {
      this.camera = new PerspectiveCamera(38, 1, 0.05, 2000);
      const size = Math.max(4, Math.ceil(reach * 1.3) * 2);
      this.lines = new GridHelper(size, size);
      this.lines.position.set(Math.round(centre[0]), floor, Math.round(centre[2]));
      this.scene.add(this.lines);
    }
    this.controls = new OrbitControls(this.camera, this.canvas);
    this.controls.enableDamping = false;
    this.controls.enableRotate = !this.flat;
    this.controls.screenSpacePanning = true;
    if (this.flat) this.controls.mouseButtons.LEFT = this.controls.mouseButtons.RIGHT;
    this.controls.addEventListener("change", () => this.draw());
    this.home();
  }

  home() {
    this.controls.target.copy(this.target);
    const away = this.flat ? new Vector3(0, 0, 10) : new Vector3(0.62, 0.28, 1).normalize()
      .multiplyScalar(Math.max(3.1, this.clip.reach * 1.9));
    this.camera.position.copy(this.target).add(away);
    this.camera.zoom = 1;
    this.camera.updateProjectionMatrix();
    this.controls.update();
  }

  theme(name) {
    this.mode = name;
    this.scene.background = new Color(PAPER[name]);
    const lines = Array.isArray(this.lines.material) ? this.lines.material : [this.lines.material];
    // A grid has a colour at each vertex; over it goes one for all.
    for (const one of lines) { one.vertexColors = false; one.color.set(LINES[name]); one.needsUpdate = true; }
  }

  point(side, frame, person, joint, into) {
    const { people, joints, dims, scale, offset } = this.clip;
    const i = (frame * people + person) * joints + joint;
    const values = this.clip.sides[side];
    if (!values.there[i]) return null;
    const p = values.points;
    return into.set(
      p[i * dims] * scale + offset[0], p[i * dims + 1] * scale + offset[1],
      this.flat ? 0 : p[i * dims + 2] * scale + offset[2]);
  }

  pose(frame) {
    const { people, joints, bones } = this.clip;
    const a = new Vector3(), b = new Vector3(), along = new Vector3(), middle = new Vector3();
    const turn = new Quaternion(), matrix = new Matrix4(), colour = new Color();
    const one = new Vector3(1, 1, 1);
    const both = this.sides.length > 1;
    // Fingers, faces and markers are many; they may not hide the body.
    const size = new Array(joints).fill(bones.length ? 0.55 : 1);
    for (const bone of bones) for (const joint of bone) size[joint] = 1;
    this.sides.forEach(({ ball, rod }, side) => {
      for (let person = 0; person < people; person += 1) {
        const base = new Color(both && side === 0 ? GREY[this.mode] : PEOPLE[person % PEOPLE.length]);
        for (let joint = 0; joint < joints; joint += 1) {
          const i = person * joints + joint;
          const at = this.shown[person] ? this.point(side, frame, person, joint, a) : null;
          ball.setMatrixAt(i, at ? matrix.makeScale(size[joint], size[joint], size[joint]).setPosition(a) : NOWHERE);
          colour.copy(base);
          if (both && side === 1 && this.errors) {
            const error = this.clip.errors.values[(frame * people + person) * joints + joint];
            const [r, g, bl] = errorColour(error * this.clip.errors.scale / this.clip.errors.top);
            colour.setRGB(r / 255, g / 255, bl / 255, "srgb");
          }
          if (at) {
            const sure = this.clip.sides[side].there[(frame * people + person) * joints + joint] / 255;
            colour.lerp(this.scene.background, 0.75 * (1 - sure));
          }
          ball.setColorAt(i, colour);
        }
        for (let bone = 0; bone < bones.length; bone += 1) {
          const i = person * bones.length + bone;
          const from = this.shown[person] ? this.point(side, frame, person, bones[bone][0], a) : null;
          const to = from ? this.point(side, frame, person, bones[bone][1], b) : null;
          if (to && a.distanceTo(b) > 1e-6) {
            along.subVectors(b, a);
            const length = along.length();
            middle.addVectors(a, b).multiplyScalar(0.5);
            turn.setFromUnitVectors(UP, along.divideScalar(length));
            matrix.compose(middle, turn, one.set(1, length, 1));
            rod.setMatrixAt(i, matrix);
          } else rod.setMatrixAt(i, NOWHERE);
          rod.setColorAt(i, base);
        }
      }
      for (const mesh of [ball, rod]) {
        mesh.instanceMatrix.needsUpdate = true;
        mesh.instanceColor.needsUpdate = true;
      }
    });
    this.frame = frame;
    this.draw();
  }

  // Parts of the canvas in CSS pixels and the sides that are drawn in each.
  views() {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    if (this.sides.length < 2) return [{ x: 0, w, h, sides: [0] }];
    if (this.overlay) return [{ x: 0, w, h, sides: [0, 1] }];
    return [{ x: 0, w: w / 2, h, sides: [0] }, { x: w / 2, w: w / 2, h, sides: [1] }];
  }

  #fit(view) {
    const aspect = view.w / Math.max(view.h, 1);
    if (this.flat) {
      const [w, h] = this.clip.box;
      const half = Math.max(h / 2, w / 2 / aspect) * 1.06;
      this.camera.top = half;
      this.camera.bottom = -half;
      this.camera.left = -half * aspect;
      this.camera.right = half * aspect;
    } else {
      this.camera.aspect = aspect;
      // As wide as it is high at least, or side by side would cut arms off.
      this.camera.fov = aspect < 1 ? 2 * Math.atan(Math.tan(19 * Math.PI / 180) / aspect) * 180 / Math.PI : 38;
    }
    this.camera.updateProjectionMatrix();
  }

  draw() {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    if (!w || !h || !this.mode) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    if (this.width !== w || this.height !== h || this.ratio !== ratio) {
      [this.width, this.height, this.ratio] = [w, h, ratio];
      this.renderer.setPixelRatio(ratio);
      this.renderer.setSize(w, h, false);
    }
    for (const view of this.views()) {
      this.#fit(view);
      this.sides.forEach(({ ball, rod }, side) => {
        ball.visible = rod.visible = view.sides.includes(side);
      });
      this.renderer.setViewport(view.x, 0, view.w, view.h);
      this.renderer.setScissor(view.x, 0, view.w, view.h);
      this.renderer.render(this.scene, this.camera);
    }
  }

  // The joint nearest to a place on the canvas, within some pixels.
  pick(x, y) {
    const view = this.views().find((one) => x >= one.x && x < one.x + one.w);
    if (!view) return null;
    this.#fit(view);
    this.camera.updateMatrixWorld();
    const at = new Vector3();
    let best = null, nearest = 14;
    for (const side of view.sides) {
      for (let person = 0; person < this.clip.people; person += 1) {
        for (let joint = 0; this.shown[person] && joint < this.clip.joints; joint += 1) {
          if (!this.point(side, this.frame, person, joint, at)) continue;
          at.project(this.camera);
          const away = Math.hypot(
            view.x + (at.x + 1) / 2 * view.w - x, (1 - at.y) / 2 * view.h - y);
          if (away < nearest) { nearest = away; best = { side, person, joint }; }
        }
      }
    }
    return best;
  }
}
