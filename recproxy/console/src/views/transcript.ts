// What somebody wrote of the talk: fetched as ciphertext, opened here, and gone with the page.

import type { Desk } from "../desk";
import type { Derived, Facts } from "../documents";
import { button, element, facts, table } from "../dom";
import { instant, size } from "../format";
import { text, word } from "../texts";
import { cues } from "../webvtt";
import { opening } from "./opening";

const WEBVTT = "text/vtt";

/** The transcript of a recording; null if none is kept. */
export function transcript(desk: Desk, row: Facts): HTMLElement | null {
  const kept = row.derived.find(({ kind, state }) => kind === "transcript" && state === "sealed");
  if (kept === undefined) return null;
  const section = element("section", { class: "card", "aria-labelledby": "transcript" });
  const about = [element("h2", { id: "transcript" }, text("transcript.title")), described(kept)];
  if (!desk.may("transcripts.file") || !row.playable) {
    section.append(...about, element("p", {}, text("transcript.not")));
    return section;
  }
  const form = opening(desk, row, async (use, told) => {
    const words = await read(desk, row, use, told, kept.bytes);
    const shut = button(text("transcript.close"), {}, () => desk.refresh());
    const shown = element("div", { class: "words", lang: kept.language }, kept.form === WEBVTT ? spoken(words) : plain(words));
    desk.leaving(() => shown.replaceChildren());
    section.replaceChildren(...about, shown, element("div", { class: "row" }, shut));
  });
  section.append(...about, form);
  return section;
}

async function read(desk: Desk, row: Facts, use: string, told: (part: number) => void, bytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let [words, seen] = ["", 0];
  for await (const piece of desk.identities.open(await desk.service.transcript(row.id, use))) {
    words += decoder.decode(piece, { stream: true });
    told((seen += piece.length) / Math.max(1, bytes));
    piece.fill(0);
  }
  return words + decoder.decode();
}

function described(kept: Derived): HTMLElement {
  return facts([
    [text("notice.language"), kept.language],
    [text("transcript.by"), kept.by],
    [text("transcript.added"), instant(kept.added)],
    [text("col.expiry"), instant(kept.expiry)],
    [text("fact.size"), size(kept.bytes)],
  ]);
}

function spoken(words: string): HTMLElement {
  const heads = [text("transcript.at"), text("transcript.who"), text("transcript.words")];
  const rows = cues(words).map(({ at, voice, words }) => [at, word("side", voice), words]);
  return table(text("transcript.title"), heads, rows);
}

function plain(words: string): HTMLElement {
  return element("p", { class: "plain" }, words);
}
