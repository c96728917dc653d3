// Instants, lengths and sizes as people read them.

import { language } from "./texts";

const LOCALES = { en: "en-GB", nl: "nl-NL" } as const;

/** An instant in the reader's own time, to the minute; as it came if it is none. */
export function instant(value: string): string {
  return formatted(value, { dateStyle: "medium", timeStyle: "short" });
}

/** An instant to the second, for evidence. */
export function exactInstant(value: string): string {
  return formatted(value, { dateStyle: "medium", timeStyle: "medium" });
}

export function timeOfDay(value: string): string {
  return formatted(value, { timeStyle: "medium" });
}

/** A length of time, such as 1:02:03 or 0:07. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  const step = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${number(bytes / 1024 ** step, step === 0 ? 0 : 1)} ${units[step]}`;
}

export function number(value: number, digits = 0): string {
  return value.toLocaleString(LOCALES[language()], { maximumFractionDigits: digits });
}

/** The first digits of a hash or id, enough to tell it from others in a list. */
export function short(id: string): string {
  return id.slice(0, 12);
}

function formatted(value: string, options: Intl.DateTimeFormatOptions): string {
  const at = new Date(value);
  return Number.isNaN(at.getTime()) ? value : new Intl.DateTimeFormat(LOCALES[language()], options).format(at);
}
