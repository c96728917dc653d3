// Opening a recording: what for is declared first, then the ciphertext is fetched and opened
// here, with an identity that only this tab knows.

import type { Desk } from "../desk";
import type { Facts } from "../documents";
import { button, type Child, element, field, select } from "../dom";
import { IdentityError } from "../identity";
import { Player } from "../player";
import { text, type TextKey } from "../texts";
import { digestOf, readWave, WaveError } from "../wave";

export function listening(desk: Desk, row: Facts): HTMLElement {
  const section = element("section", { class: "card", "aria-labelledby": "listen" });
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
  form.append(button(text("open.go"), { type: "submit", class: "primary" }, () => undefined));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    desk.attempt(async () => {
      try {
        await take();
        opened(desk, row, section, await open(desk, row, use.value));
      } catch (err) {
        desk.complain(complaint(err));
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

async function open(desk: Desk, row: Facts, use: string): Promise<Player> {
  const ciphertext = await desk.service.ciphertext(row.id, use);
  let plaintext: Uint8Array;
  try {
    plaintext = await desk.identities.open(ciphertext);
  } catch (err) {
    desk.identities.clear(); // another can be given
    throw err;
  }
  const wave = readWave(plaintext);
  if (wave.recording !== row.id) throw new IdentityError("other");
  const digest = await digestOf(wave);
  plaintext.fill(0);
  return new Player(wave, digest, () => desk.used());
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
