// Opening a recording: what for is declared first, then the ciphertext is fetched and opened
// here, with an identity that only this tab knows.

import type { Desk } from "../desk";
import type { Facts } from "../documents";
import { button, type Child, element } from "../dom";
import { IdentityError } from "../identity";
import { COLUMNS, Player } from "../player";
import { text } from "../texts";
import { survey, WaveReader } from "../wave";
import { opening } from "./opening";
import { asking } from "./requests";

export function listening(desk: Desk, row: Facts): HTMLElement {
  const section = element("section", { class: "card", "aria-labelledby": "listen" });
  const ours = desk.purposes.filter(({ name }) => row.purposes.includes(name));
  const twice = row.uses.filter((use) => ours.some((one) => one.four_eyes && one.uses.includes(use)));
  if (row.state === "sealed" && !row.playable && twice.length > 0 && desk.may("tickets.request")) {
    section.append(heading(), asking(desk, row, twice));
    return section;
  }
  if (!desk.may("recordings.file") || !row.playable) {
    const why = text(row.state === "sealed" ? "open.not" : "open.unsealed");
    section.append(heading(), element("p", {}, why));
    return section;
  }
  closed(desk, row, section);
  return section;
}

/** The form that opens it. */
function closed(desk: Desk, row: Facts, section: HTMLElement): void {
  const form = opening(desk, row, async (use, told) => opened(desk, row, section, await open(desk, row, use, told)));
  section.replaceChildren(heading(), form);
}

/** Fetch it and open it, piece by piece. ``told`` hears how much of it is there, 0 to 1. */
async function open(desk: Desk, row: Facts, use: string, told: (part: number) => void): Promise<Player> {
  const reader = new WaveReader();
  let bytes = 0;
  try {
    for await (const piece of desk.identities.open(await desk.service.ciphertext(row.id, use))) {
      reader.push(piece);
      told((bytes += piece.length) / Math.max(1, row.bytes));
      piece.fill(0);
    }
  } catch (err) {
    reader.clear();
    throw err;
  }
  const wave = reader.finish();
  if (wave.recording !== row.id) throw new IdentityError("other");
  return new Player(wave, await survey(wave, COLUMNS), row.pauses, () => desk.used());
}

/** What stands there once it is open. */
function opened(desk: Desk, row: Facts, section: HTMLElement, player: Player): void {
  let file = "";
  const close = (): void => {
    player.close();
    if (file) URL.revokeObjectURL(file);
  };
  desk.leaving(close);
  const download = button(text("player.download"), {}, () => {
    file ||= URL.createObjectURL(player.file());
    element("a", { href: file, download: `${row.id}.wav` }).click();
  });
  const shut = button(text("player.close"), {}, () => desk.refresh());
  const hint: Child = element("p", { class: "hint" }, text("player.download.hint"));
  section.replaceChildren(heading(), player.view, element("div", { class: "row" }, download, shut), hint);
}

function heading(): HTMLElement {
  return element("h2", { id: "listen" }, text("open.title"));
}
