// A recording's WAV (storage/FORMAT.md, section 4) to samples. Browsers do not play G.711 in
// WAV, nor a WAV of unknown length, so both are done here. What was recorded stays as it came,
// one or two bytes a sample, and is decoded piece by piece: calls may last hours.

import { sha256 } from "@noble/hashes/sha2.js";

export class WaveError extends Error {}

export type Side = 0 | 1;

const PCM = 1;
const A_LAW = 6;
const MU_LAW = 7;
const LONGEST_HEADER_BYTES = 65_536;
const BLOCK_BYTES = 1 << 20; // whole frames of every format
const FULL_SCALE = 32_768;

interface Format {
  readonly tag: number;
  readonly rateHz: number;
  readonly frameBytes: number;
}

/** A recording that was opened: caller and callee. */
export class Wave {
  readonly rateHz: number;
  readonly frames: number;
  /** Id of the recording that this is, from INAM; empty if it does not say. */
  readonly recording: string;
  readonly #format: Format;
  readonly #blocks: readonly Uint8Array[];

  constructor(format: Format, recording: string, blocks: readonly Uint8Array[], bytes: number) {
    this.#format = format;
    this.#blocks = blocks;
    this.recording = recording;
    this.rateHz = format.rateHz;
    this.frames = Math.floor(bytes / format.frameBytes);
  }

  get seconds(): number {
    return this.frames / this.rateHz;
  }

  /** 16-bit samples of both sides in turn, from a frame on; fewer at the end. */
  woven(from: number, count: number): Int16Array<ArrayBuffer> {
    const { tag, frameBytes } = this.#format;
    const samples = new Int16Array(2 * Math.max(0, Math.min(count, this.frames - from)));
    const law = tag === A_LAW ? A_LAW_SAMPLES : MU_LAW_SAMPLES;
    const each = frameBytes / 2;
    for (let done = 0; done < samples.length; ) {
      const at = from * frameBytes + done * each;
      const block = this.#blocks[Math.floor(at / BLOCK_BYTES)] as Uint8Array;
      const start = at % BLOCK_BYTES;
      const here = Math.min(samples.length - done, (BLOCK_BYTES - start) / each);
      const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
      for (let one = 0; one < here; one += 1) {
        samples[done + one] =
          tag === PCM ? view.getInt16(start + 2 * one, true) : (law[block[start + one] as number] as number);
      }
      done += here;
    }
    return samples;
  }

  /** Samples of one side, -1 to 1. */
  side(side: Side, from: number, count: number): Float32Array<ArrayBuffer> {
    const woven = this.woven(from, count);
    return Float32Array.from({ length: woven.length / 2 }, (_, at) => (woven[2 * at + side] as number) / FULL_SCALE);
  }

  /** A WAV of 16-bit PCM that every player takes. Its pieces are made one by one. */
  file(): Blob {
    const pieces: Blob[] = [];
    for (let at = 0; at < this.frames; at += PIECE_FRAMES) pieces.push(new Blob([littleEndian(this.woven(at, PIECE_FRAMES))]));
    return new Blob([header(this.rateHz, 4 * this.frames), ...pieces], { type: "audio/wav" });
  }

  /** Overwrite what is there. */
  clear(): void {
    for (const block of this.#blocks) block.fill(0);
  }
}

const PIECE_FRAMES = 1 << 18;

/** What a look at all of a recording tells. */
export interface Survey {
  /** SHA-256 of the samples as 16-bit little-endian PCM, caller and callee in turn; hexadecimal. */
  readonly digest: string;
  /** Of each side, the loudest sample of each of ``columns`` parts, 0 to 1. */
  readonly peaks: readonly [Float32Array, Float32Array];
}

/** Go through a recording once; the page stays alive meanwhile. */
export async function survey(wave: Wave, columns: number): Promise<Survey> {
  const peaks: [Float32Array, Float32Array] = [new Float32Array(columns), new Float32Array(columns)];
  const digest = sha256.create();
  for (let at = 0; at < wave.frames; at += PIECE_FRAMES) {
    const woven = wave.woven(at, PIECE_FRAMES);
    digest.update(littleEndian(woven));
    for (let one = 0; one < woven.length; one += 1) {
      const column = Math.floor(((at + (one >> 1)) * columns) / wave.frames);
      const side = peaks[(one & 1) as Side];
      side[column] = Math.max(side[column] as number, Math.abs(woven[one] as number) / FULL_SCALE);
    }
    await new Promise((resolve) => setTimeout(resolve));
  }
  const hex = Array.from(digest.digest(), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { digest: hex, peaks };
}

/** Reads a WAV stream of two channels as it comes: G.711 A-law or µ-law, or 16-bit PCM. */
export class WaveReader {
  #head = new Uint8Array(0);
  #format: Format | null = null;
  #recording = "";
  #left = 0; // bytes of samples still to come, as the header has it
  #bytes = 0;
  readonly #blocks: Uint8Array[] = [];

  /** Take what came. */
  push(piece: Uint8Array): void {
    if (this.#format !== null) {
      this.#keep(piece);
      return;
    }
    const head = new Uint8Array(this.#head.length + piece.length);
    head.set(this.#head);
    head.set(piece, this.#head.length);
    this.#head = head;
    if (head.length >= 12 && (word(head, 0) !== "RIFF" || word(head, 8) !== "WAVE")) throw new WaveError("it is no WAV");
    const found = readHeader(head);
    if (found === null) {
      if (head.length > LONGEST_HEADER_BYTES) throw new WaveError("its header is not complete");
      return;
    }
    [this.#format, this.#recording, this.#left] = [found.format, found.recording, found.size];
    this.#keep(head.subarray(found.start));
    this.#head = new Uint8Array(0);
  }

  /** All has come. */
  finish(): Wave {
    if (this.#format === null) throw new WaveError("its header is not complete");
    return new Wave(this.#format, this.#recording, this.#blocks, this.#bytes);
  }

  /** Overwrite what has come: it is not wanted. */
  clear(): void {
    for (const block of this.#blocks) block.fill(0);
  }

  // The length of the payload is the length of the recording, unless the header knows better.
  #keep(piece: Uint8Array): void {
    for (let rest = piece.subarray(0, this.#left); rest.length > 0; ) {
      const used = this.#bytes % BLOCK_BYTES;
      if (used === 0) this.#blocks.push(new Uint8Array(BLOCK_BYTES));
      const part = rest.subarray(0, BLOCK_BYTES - used);
      (this.#blocks.at(-1) as Uint8Array).set(part, used);
      this.#bytes += part.length;
      this.#left -= part.length;
      rest = rest.subarray(part.length);
    }
  }
}

interface Header {
  readonly format: Format;
  readonly recording: string;
  readonly start: number;
  readonly size: number;
}

/** What stands before the samples; null if not all of it has come. */
function readHeader(bytes: Uint8Array): Header | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let format: Format | null = null;
  let recording = "";
  for (let at = 12; at + 8 <= Math.min(bytes.length, LONGEST_HEADER_BYTES); ) {
    const [name, size] = [word(bytes, at), view.getUint32(at + 4, true)];
    at += 8;
    if (name === "data") {
      if (format === null) throw new WaveError("it has no format");
      return { format, recording, start: at, size };
    }
    if (at + size > bytes.length) return null;
    if (name === "fmt ") format = readFormat(view, at, size);
    if (name === "LIST") recording = nameIn(bytes.subarray(at, at + size));
    at += size + (size % 2);
  }
  return null;
}

function readFormat(view: DataView, at: number, size: number): Format {
  if (size < 16) throw new WaveError("its format is cut off");
  const [tag, channels] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
  const [rateHz, bits] = [view.getUint32(at + 4, true), view.getUint16(at + 14, true)];
  if (channels !== 2) throw new WaveError(`it has ${channels} channels, not 2`);
  if (![PCM, A_LAW, MU_LAW].includes(tag) || bits !== (tag === PCM ? 16 : 8)) {
    throw new WaveError(`its format ${tag} with ${bits} bits is not known`);
  }
  return { tag, rateHz, frameBytes: bits / 4 };
}

function header(rateHz: number, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(44);
  const view = new DataView(bytes.buffer);
  const text = (at: number, value: string): void => bytes.set(new TextEncoder().encode(value), at);
  text(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, PCM, true);
  view.setUint16(22, 2, true);
  view.setUint32(24, rateHz, true);
  view.setUint32(28, rateHz * 4, true);
  view.setUint16(32, 4, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, size, true);
  return bytes;
}

function littleEndian(samples: Int16Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (LITTLE_ENDIAN) return new Uint8Array(samples.buffer);
  const view = new DataView(new ArrayBuffer(2 * samples.length));
  samples.forEach((sample, at) => view.setInt16(2 * at, sample, true));
  return new Uint8Array(view.buffer);
}

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** ITU-T G.711: a segment of three bits and a step of four, in sign and magnitude. */
function muLaw(code: number): number {
  const bits = ~code & 0xff;
  const magnitude = ((((bits & 0x0f) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84;
  return bits & 0x80 ? -magnitude : magnitude;
}

function aLaw(code: number): number {
  const bits = code ^ 0x55;
  const segment = (bits >> 4) & 7;
  const step = ((bits & 0x0f) << 4) + 8;
  const magnitude = segment === 0 ? step : (step + 0x100) << (segment - 1);
  return bits & 0x80 ? magnitude : -magnitude;
}

const MU_LAW_SAMPLES = Int16Array.from({ length: 256 }, (_, code) => muLaw(code));
const A_LAW_SAMPLES = Int16Array.from({ length: 256 }, (_, code) => aLaw(code));

function nameIn(list: Uint8Array): string {
  if (word(list, 0) !== "INFO") return "";
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
  for (let at = 4; at + 8 <= list.length; ) {
    const size = view.getUint32(at + 4, true);
    if (word(list, at) === "INAM") {
      return new TextDecoder().decode(list.subarray(at + 8, at + 8 + size)).replace(/\0.*$/s, "");
    }
    at += 8 + size + (size % 2);
  }
  return "";
}

function word(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}
