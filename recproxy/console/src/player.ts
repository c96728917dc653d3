// Plays a recording that was opened: two waveforms, two channels that can be silenced, one
// position. The samples are in memory and gone after close().

import { button, element } from "./dom";
import { duration } from "./format";
import { text } from "./texts";
import { type Wave, writeWave } from "./wave";

const SIDES = ["caller", "callee"] as const;
const WIDTH_PX = 1200;
const HEIGHT_PX = 96;
const FULL_SCALE = 32_768;
const STEP_S = 5;
const TO_COME_ALPHA = 0.5;

export class Player {
  readonly view: HTMLElement;
  readonly #wave: Wave;
  readonly #context: AudioContext;
  readonly #buffer: AudioBuffer;
  readonly #gains: GainNode[] = [];
  readonly #canvases: HTMLCanvasElement[] = [];
  readonly #toggle: HTMLButtonElement;
  readonly #slider: HTMLInputElement;
  readonly #clock: HTMLElement;
  readonly #peaks: Float32Array[] = [];
  readonly #used: () => void;
  #source: AudioBufferSourceNode | null = null;
  #startedAt = 0;
  #offset = 0;
  #frame = 0;

    /**
   * @param digest SHA-256 of the samples, shown to whoever checks what was decoded.
   * @param used Told as long as it plays.
   */
  constructor(wave: Wave, digest: string, used: () => void) {
    this.#wave = wave;
    this.#used = used;
    this.#context = new AudioContext();
    this.#buffer = this.#context.createBuffer(2, Math.max(1, wave.channels[0].length), wave.rateHz);
    const merger = this.#context.createChannelMerger(2);
    merger.connect(this.#context.destination);
    SIDES.forEach((_, side) => {
      const gain = this.#context.createGain();
      gain.connect(merger, 0, side);
      this.#gains.push(gain);
      const samples = wave.channels[side] as Int16Array;
      this.#buffer.copyToChannel(Float32Array.from(samples, (sample) => sample / FULL_SCALE), side);
    });
    this.#toggle = button(text("player.play"), { class: "primary" }, () => this.#playOrPause());
    this.#slider = element("input", {
      type: "range",
      min: 0,
      max: this.#buffer.duration,
      step: 0.01,
      value: 0,
      "aria-label": text("player.position"),
    });
    this.#slider.addEventListener("input", () => this.#seek(this.#slider.valueAsNumber));
    this.#clock = element("output", { class: "clock" });
    this.view = element(
      "section",
      {
        class: "player",
        "aria-label": text("player.label"),
        "data-pcm-sha256": digest,
        "data-rate-hz": wave.rateHz,
        "data-frames": wave.channels[0].length,
      },
      ...SIDES.map((side, at) => this.#channel(side, at)),
      this.#slider,
      element("div", { class: "row" }, this.#toggle, this.#clock),
    );
    this.view.addEventListener("keydown", (event) => this.#key(event));
    requestAnimationFrame(() => this.#show()); // once it has a place, and colours
  }

  /** The recording as a WAV that any player takes; not encrypted. */
  file(): Blob {
    return new Blob([writeWave(this.#wave)], { type: "audio/wav" });
  }

  /** Stop and give everything back. */
  close(): void {
    this.#stop();
    this.view.remove();
    for (const channel of this.#wave.channels) channel.fill(0);
    for (const side of [0, 1]) this.#buffer.getChannelData(side).fill(0);
    void this.#context.close();
  }

  #channel(side: (typeof SIDES)[number], at: number): HTMLElement {
    const name = text(`side.${side}`);
    const canvas = element("canvas", {
      width: WIDTH_PX,
      height: HEIGHT_PX,
      role: "img",
      "aria-label": text("player.wave", { side: name }),
    });
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      this.#seek(((event.clientX - box.left) / box.width) * this.#buffer.duration);
    });
    this.#canvases.push(canvas);
    const heard = element("input", { type: "checkbox", checked: true, "aria-label": text("player.heard", { side: name }) });
    heard.addEventListener("change", () => {
      (this.#gains[at] as GainNode).gain.value = heard.checked ? 1 : 0;
      canvas.classList.toggle("silenced", !heard.checked);
    });
    const label = element("label", { class: "side" }, heard, name);
    return element("div", { class: `channel ${side}` }, label, canvas);
  }

  get #position(): number {
    const passed = this.#source === null ? 0 : this.#context.currentTime - this.#startedAt;
    return Math.min(this.#offset + passed, this.#buffer.duration);
  }

  #playOrPause(): void {
    if (this.#source !== null) {
      this.#offset = this.#position;
      this.#stop();
    } else {
      if (this.#offset >= this.#buffer.duration) this.#offset = 0;
      this.#play();
    }
    this.#show();
  }

  #play(): void {
    const source = this.#context.createBufferSource();
    const splitter = this.#context.createChannelSplitter(2);
    source.buffer = this.#buffer;
    source.connect(splitter);
    this.#gains.forEach((gain, side) => splitter.connect(gain, side));
    source.addEventListener("ended", () => {
      if (this.#source !== source) return;
      this.#offset = this.#buffer.duration;
      this.#stop();
      this.#show();
    });
    void this.#context.resume();
    this.#startedAt = this.#context.currentTime;
    source.start(0, this.#offset);
    this.#source = source;
    const tick = (): void => {
      this.#show();
      this.#used();
      this.#frame = requestAnimationFrame(tick);
    };
    this.#frame = requestAnimationFrame(tick);
  }

  #stop(): void {
    cancelAnimationFrame(this.#frame);
    const source = this.#source;
    this.#source = null;
    source?.stop();
    source?.disconnect();
  }

  #seek(seconds: number): void {
    const playing = this.#source !== null;
    this.#stop();
    this.#offset = Math.max(0, Math.min(seconds, this.#buffer.duration));
    if (playing) this.#play();
    this.#show();
  }

  #key(event: KeyboardEvent): void {
    const step = { ArrowLeft: -STEP_S, ArrowRight: STEP_S }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.#seek(this.#position + step);
  }

  #show(): void {
    const position = this.#position;
    this.#toggle.textContent = text(this.#source === null ? "player.play" : "player.pause");
    this.#slider.value = String(position);
    this.#slider.setAttribute("aria-valuetext", duration(position));
    this.#clock.textContent = `${duration(position)} / ${duration(this.#buffer.duration)}`;
    this.#canvases.forEach((canvas, side) => this.#draw(canvas, side, position));
  }

  #draw(canvas: HTMLCanvasElement, side: number, position: number): void {
    const context = canvas.getContext("2d");
    if (context === null) return;
    const peaks = (this.#peaks[side] ??= peaksOf(this.#wave.channels[side] as Int16Array));
    context.fillStyle = getComputedStyle(canvas).color;
    const played = (position / this.#buffer.duration) * WIDTH_PX;
    context.clearRect(0, 0, WIDTH_PX, HEIGHT_PX);
    peaks.forEach((peak, x) => {
      const height = Math.max(1, peak * HEIGHT_PX);
      context.globalAlpha = x < played ? 1 : TO_COME_ALPHA;
      context.fillRect(x, (HEIGHT_PX - height) / 2, 1, height);
    });
  }

}

/** The loudest sample under each pixel, 0 to 1. */
function peaksOf(samples: Int16Array): Float32Array {
  return Float32Array.from({ length: WIDTH_PX }, (_, x) => {
    const from = Math.floor((x * samples.length) / WIDTH_PX);
    const to = Math.floor(((x + 1) * samples.length) / WIDTH_PX);
    let peak = 0;
    for (let at = from; at < to; at += 1) peak = Math.max(peak, Math.abs(samples[at] as number));
    return peak / FULL_SCALE;
  });
}
