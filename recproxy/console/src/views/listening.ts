// Opening a recording: what for is declared first, then the ciphertext is fetched and opened
// here, with an identity that only this tab knows.

import type { Desk } from "../desk";
import type { Facts } from "../documents";
import { button, type Child, element, field, select } from "../dom";
import { IdentityError } from "../identity";
import { COLUMNS, Player } from "../player";
import { text, type TextKey } from "../texts";
import { asking } from "./requests";
import { survey, WaveError, WaveReader } from "../wave";

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
  const options = row.uses.map((use) => [use, use] as const);
  const use = select("use", [["", text("open.choose")], ...options]);
  use.required = true;
  const form = element("form", { class: "open" }, field(text("open.use"), use, text("open.use.hint")));
  const take = identityPart(desk, form);
  const progress = element("progress", { max: 1, value: 0, hidden: true, "aria-label": text("open.progress") });
  form.append(button(text("open.go"), { type: "submit", class: "primary" }, () => undefined), progress);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    desk.attempt(async () => {
      try {
        await take();
        const told = (part: number): void => {
          progress.value = part;
          desk.used();
        };
        progress.hidden = false;
        opened(desk, row, section, await open(desk, row, use.value, told));
      } catch (err) {
        desk.complain(complaint(err));
      } finally {
        progress.hidden = true;
      }
    });
  });
  section.replaceChildren(heading(), form);
}

/** Asks for an identity unless there is one; the result takes what was given. */
function identityPart(desk: Desk, form: HTMLElement): () => Promise<void> {
  if (desk.identities.present) {
    const forget = button(text("open.identity.forget"), { class: "quiet" }, () => {
      desk.identities.clear();
      desk.refresh();
    });
    form.append(element("p", { class: "ready" }, text("open.identity.ready"), " ", forget));
    return () => Promise.resolve();
  }
  const file = element("input", { type: "file", name: "identity-file" });
  const pasted = element("textarea", {
    name: "identity",
    rows: 2,
    class: "secret mono",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  });
  const passphrase = element("input", { type: "password", name: "passphrase", autocomplete: "off" });
  form.append(
    element(
      "fieldset",
      {},
      element("legend", {}, text("open.identity")),
      element("p", { class: "hint" }, text("open.identity.hint")),
      field(text("open.identity.file"), file),
      field(text("open.identity.paste"), pasted),
      field(text("open.identity.passphrase"), passphrase),
    ),
  );
  return async () => {
    const chosen = file.files?.[0];
    if (desk.identities.present) return;
    if (chosen === undefined && pasted.value.trim() === "") throw new IdentityError("missing");
    const given = chosen ? new Uint8Array(await chosen.arrayBuffer()) : new TextEncoder().encode(pasted.value);
    await desk.identities.take(given, passphrase.value);
    for (const control of [file, pasted, passphrase]) control.value = "";
  };
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
    if (err instanceof IdentityError) desk.identities.clear(); // another can be given
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

/** What the user can read and mend; anything else is thrown on. */
function complaint(err: unknown): string {
  if (err instanceof IdentityError) return text(`open.error.${err.message}` as TextKey);
  if (err instanceof WaveError) return text("open.error.damaged");
  throw err;
}
