// A recording's WAV (storage/FORMAT.md, section 4) to samples. Browsers do not play G.711 in
// WAV, nor a WAV of unknown length, so both are done here.

export class WaveError extends Error {}

export interface Wave {
  readonly rateHz: number;
  /** 16-bit samples: caller, callee. */
  readonly channels: readonly [Int16Array, Int16Array];
  /** Id of the recording that this is, from INAM; empty if it does not say. */
  readonly recording: string;
}

const PCM = 1;
const A_LAW = 6;
const MU_LAW = 7;
const LONGEST_HEADER_BYTES = 65_536;

/** Read a WAV stream of two channels: G.711 A-law or µ-law, or 16-bit PCM. */
export function readWave(bytes: Uint8Array): Wave {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (word(bytes, 0) !== "RIFF" || word(bytes, 8) !== "WAVE") throw new WaveError("it is no WAV");
  let format: Format | null = null;
  let recording = "";
  for (let at = 12; at + 8 <= Math.min(bytes.length, LONGEST_HEADER_BYTES); ) {
    const [name, size] = [word(bytes, at), view.getUint32(at + 4, true)];
    at += 8;
    if (name === "data") {
      if (format === null) throw new WaveError("it has no format");
      // The length of the payload is the length of the recording, unless the header knows better.
      const samples = bytes.subarray(at, Math.min(bytes.length, at + size));
      return { rateHz: format.rateHz, channels: split(samples, format.tag), recording };
    }
    if (at + size > bytes.length) break;
    if (name === "fmt ") format = readFormat(view, at, size);
    if (name === "LIST") recording = nameIn(bytes.subarray(at, at + size));
    at += size + (size % 2);
  }
  throw new WaveError("its header is not complete");
}

/** Make a WAV of 16-bit PCM that every player takes. */
export function writeWave(wave: Wave): Uint8Array<ArrayBuffer> {
  const samples = woven(wave);
  const size = samples.byteLength;
  const bytes = new Uint8Array(44 + size);
  const view = new DataView(bytes.buffer);
  const text = (at: number, value: string): void => bytes.set(new TextEncoder().encode(value), at);
  text(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, PCM, true);
  view.setUint16(22, 2, true);
  view.setUint32(24, wave.rateHz, true);
  view.setUint32(28, wave.rateHz * 4, true);
  view.setUint16(32, 4, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, size, true);
  bytes.set(samples, 44);
  return bytes;
}

/** SHA-256 of the samples as 16-bit little-endian PCM, caller and callee in turn; hexadecimal. */
export async function digestOf(wave: Wave): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", woven(wave)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

interface Format {
  readonly tag: number;
  readonly rateHz: number;
}

function readFormat(view: DataView, at: number, size: number): Format {
  if (size < 16) throw new WaveError("its format is cut off");
  const [tag, channels] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
  const [rateHz, bits] = [view.getUint32(at + 4, true), view.getUint16(at + 14, true)];
  if (channels !== 2) throw new WaveError(`it has ${channels} channels, not 2`);
  if (![PCM, A_LAW, MU_LAW].includes(tag) || bits !== (tag === PCM ? 16 : 8)) {
    throw new WaveError(`its format ${tag} with ${bits} bits is not known`);
  }
  return { tag, rateHz };
}

function split(samples: Uint8Array, tag: number): [Int16Array, Int16Array] {
  const bytesEach = tag === PCM ? 2 : 1;
  const frames = Math.floor(samples.length / (2 * bytesEach));
  const channels: [Int16Array, Int16Array] = [new Int16Array(frames), new Int16Array(frames)];
  const view = new DataView(samples.buffer, samples.byteOffset, samples.byteLength);
  const law = tag === A_LAW ? A_LAW_SAMPLES : MU_LAW_SAMPLES;
  for (let frame = 0; frame < frames; frame += 1) {
    for (const side of [0, 1] as const) {
      const at = 2 * frame + side;
      channels[side][frame] = tag === PCM ? view.getInt16(2 * at, true) : (law[samples[at] as number] as number);
    }
  }
  return channels;
}

function woven(wave: Wave): Uint8Array<ArrayBuffer> {
  const [left, right] = wave.channels;
  const bytes = new Uint8Array(4 * left.length);
  const view = new DataView(bytes.buffer);
  for (let frame = 0; frame < left.length; frame += 1) {
    view.setInt16(4 * frame, left[frame] as number, true);
    view.setInt16(4 * frame + 2, right[frame] as number, true);
  }
  return bytes;
}

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
