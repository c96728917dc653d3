// The cues of a transcript in WebVTT (W3C WebVTT, section 4): when, who, what. All of it stays text.

import { duration } from "./format";

export interface Cue {
  /** From the beginning of the recording, as it is shown. */
  readonly at: string;
  /** Who speaks, as the transcript names them. */
  readonly voice: string;
  readonly words: string;
}

const NO_CUES = /^(?:WEBVTT|NOTE|STYLE|REGION)(?:[ \t\n]|$)/;
const VOICES = /<v(?:\.[^\s>]+)*[ \t]+([^>]+)>([^]*?)(?=<v[ \t.]|$)/g;
const MARKUP = /<[^>]*>/g;
const ENTITIES: Readonly<Record<string, string>> = {
  "&amp;": "&",
  "&lt;": "<",
  "&gt;": ">",
  "&nbsp;": "\u00a0",
  "&lrm;": "\u200e",
  "&rlm;": "\u200f",
};

/** What is said in a transcript, in order; a cue with two voices is two. */
export function cues(transcript: string): Cue[] {
  return transcript.split(/\n\n+/).flatMap((block) => {
    const lines = block.split("\n").filter((line) => line !== "");
    const timed = lines.findIndex((line) => line.includes("-->"));
    if (timed < 0 || NO_CUES.test(block)) return [];
    const at = duration(seconds((lines[timed] as string).split("-->", 1)[0] as string));
    const said = lines.slice(timed + 1).join("\n");
    return [...said.matchAll(VOICES)].map(([, voice = "", words = ""]) => ({ at, voice, words: plain(words) }));
  });
}

/** Hours, if there are any, minutes and seconds. */
function seconds(instant: string): number {
  return instant.trim().split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
}

function plain(words: string): string {
  return words.replace(MARKUP, "").replace(/&(?:amp|lt|gt|nbsp|lrm|rlm);/g, (entity) => ENTITIES[entity] as string).trim();
}
