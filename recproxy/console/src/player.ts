// Plays a recording that was opened: two waveforms, two channels that can be silenced, one
// position. It is decoded a few seconds at a time, and gone after close().

import type { Pause } from "./documents";
import { button, element } from "./dom";
import { duration } from "./format";
import { text } from "./texts";
import type { Side, Survey, Wave } from "./wave";

const SIDES = ["caller", "callee"] as const;
/** Columns of a waveform. */
export const COLUMNS = 1200;
const HEIGHT_PX = 96;
const STEP_S = 5;
const PIECE_S = 5;
const TO_COME_ALPHA = 0.5;
const PAUSE_ALPHA = 0.35;

export class Player {
  readonly view: HTMLElement;
  readonly #wave: Wave;
  readonly #survey: Survey;
  readonly #pauses: readonly Pause[];
  readonly #context: AudioContext;
  readonly #gains: GainNode[] = [];
  readonly #canvases: HTMLCanvasElement[] = [];
  readonly #toggle: HTMLButtonElement;
  readonly #slider: HTMLInputElement;
  readonly #clock: HTMLElement;
  readonly #used: () => void;
  readonly #sources = new Set<AudioBufferSourceNode>();
  #playing = false;
  #startedAt = 0;
  #offset = 0;
  #frame = 0;

  /**
   * @param pauses Where nothing was recorded, in seconds from its beginning.
   * @param used Told as long as it plays.
   */
  constructor(wave: Wave, survey: Survey, pauses: readonly Pause[], used: () => void) {
    this.#wave = wave;
    this.#survey = survey;
    this.#pauses = pauses;
    this.#used = used;
    // At the rate of the recording: pieces join without a seam.
    this.#context = new AudioContext({ sampleRate: wave.rateHz });
    const merger = this.#context.createChannelMerger(2);
    merger.connect(this.#context.destination);
    SIDES.forEach((_, side) => {
      const gain = this.#context.createGain();
      gain.connect(merger, 0, side);
      this.#gains.push(gain);
    });
    this.#toggle = button(text("player.play"), { class: "primary" }, () => this.#playOrPause());
    this.#slider = element("input", {
      type: "range",
      min: 0,
      max: wave.seconds,
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
        "data-pcm-sha256": survey.digest,
        "data-rate-hz": wave.rateHz,
        "data-frames": wave.frames,
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
    return this.#wave.file();
  }

  /** Stop and give everything back. */
  close(): void {
    this.#stop();
    this.view.remove();
    this.#wave.clear();
    void this.#context.close();
  }

  #channel(side: (typeof SIDES)[number], at: number): HTMLElement {
    const name = text(`side.${side}`);
    const canvas = element("canvas", {
      width: COLUMNS,
      height: HEIGHT_PX,
      role: "img",
      "aria-label": text("player.wave", { side: name }),
    });
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      this.#seek(((event.clientX - box.left) / box.width) * this.#wave.seconds);
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
    const passed = this.#playing ? this.#context.currentTime - this.#startedAt : 0;
    return Math.min(this.#offset + passed, this.#wave.seconds);
  }

  #playOrPause(): void {
    if (this.#playing) {
      this.#offset = this.#position;
      this.#stop();
    } else {
      if (this.#offset >= this.#wave.seconds) this.#offset = 0;
      this.#play();
    }
    this.#show();
  }

  #play(): void {
    void this.#context.resume();
    this.#startedAt = this.#context.currentTime;
    this.#playing = true;
    const first = Math.floor(this.#offset * this.#wave.rateHz);
    this.#lay(first, this.#startedAt);
    this.#lay(first + this.#pieceFrames, this.#startedAt + PIECE_S);
    const tick = (): void => {
      this.#show();
      this.#used();
      this.#frame = requestAnimationFrame(tick);
    };
    this.#frame = requestAnimationFrame(tick);
  }

  get #pieceFrames(): number {
    return PIECE_S * this.#wave.rateHz;
  }

  /** Have a few seconds played from an instant of the context on, and those after the next once they are over. */
  #lay(from: number, at: number): void {
    if (from >= this.#wave.frames) return;
    const frames = Math.min(this.#pieceFrames, this.#wave.frames - from);
    const buffer = this.#context.createBuffer(2, frames, this.#wave.rateHz);
    for (const side of [0, 1] as const) buffer.copyToChannel(this.#wave.side(side, from, frames), side);
    const source = this.#context.createBufferSource();
    const splitter = this.#context.createChannelSplitter(2);
    source.buffer = buffer;
    source.connect(splitter);
    this.#gains.forEach((gain, side) => splitter.connect(gain, side));
    this.#sources.add(source);
    source.addEventListener("ended", () => {
      source.disconnect();
      if (!this.#sources.delete(source)) return;
      this.#lay(from + 2 * this.#pieceFrames, at + 2 * PIECE_S);
      if (this.#sources.size > 0) return;
      this.#offset = this.#wave.seconds;
      this.#stop();
      this.#show();
    });
    source.start(at);
  }

  #stop(): void {
    cancelAnimationFrame(this.#frame);
    this.#playing = false;
    for (const source of this.#sources) {
      source.stop();
      source.disconnect();
    }
    this.#sources.clear();
  }

  #seek(seconds: number): void {
    const playing = this.#playing;
    this.#stop();
    this.#offset = Math.max(0, Math.min(seconds, this.#wave.seconds));
    if (playing) this.#play();
    this.#show();
  }

  #key(event: KeyboardEvent): void {
    const step = { ArrowLeft: -STEP_S, ArrowRight: STEP_S }[event.key];
    if (step !== undefined) this.#seek(this.#position + step);
    else if (event.key === " " && event.target === this.#slider) this.#playOrPause();
    else return;
    event.preventDefault();
  }

  #show(): void {
    const position = this.#position;
    this.#toggle.textContent = text(this.#playing ? "player.pause" : "player.play");
    this.#slider.value = String(position);
    this.#slider.setAttribute("aria-valuetext", duration(position));
    this.#clock.textContent = `${duration(position)} / ${duration(this.#wave.seconds)}`;
    this.#canvases.forEach((canvas, side) => this.#draw(canvas, side as Side, position));
  }

  #draw(canvas: HTMLCanvasElement, side: Side, position: number): void {
    const context = canvas.getContext("2d");
    if (context === null) return;
    const peaks = this.#survey.peaks[side];
    const style = getComputedStyle(canvas);
    const column = (seconds: number): number => (seconds / this.#wave.seconds) * COLUMNS;
    context.clearRect(0, 0, COLUMNS, HEIGHT_PX);
    context.globalAlpha = PAUSE_ALPHA;
    context.fillStyle = style.getPropertyValue("--warn");
    for (const { from_s, to_s } of this.#pauses) {
      context.fillRect(column(from_s), 0, Math.max(2, column(to_s) - column(from_s)), HEIGHT_PX);
    }
    context.fillStyle = style.color;
    const played = column(position);
    peaks.forEach((peak, x) => {
      const height = Math.max(1, peak * HEIGHT_PX);
      context.globalAlpha = x < played ? 1 : TO_COME_ALPHA;
      context.fillRect(x, (HEIGHT_PX - height) / 2, 1, height);
    });
  }
}
