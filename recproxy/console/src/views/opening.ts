// The form that opens what is encrypted: what for is declared first, and an identity is given that
// only this tab knows.

import type { Desk } from "../desk";
import type { Facts } from "../documents";
import { button, element, field, select } from "../dom";
import { IdentityError } from "../identity";
import { text, type TextKey } from "../texts";
import { WaveError } from "../wave";

/** Fetches and opens something for a use; ``told`` hears how much of it is there, 0 to 1. */
export type Open = (use: string, told: (part: number) => void) => Promise<void>;

export function opening(desk: Desk, row: Facts, open: Open): HTMLElement {
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
        progress.hidden = false;
        await open(use.value, (part) => {
          progress.value = part;
          desk.used();
        });
      } catch (err) {
        desk.complain(complaint(err));
      } finally {
        progress.hidden = true;
      }
    });
  });
  return form;
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

/** What the user can read and mend; anything else is thrown on. */
function complaint(err: unknown): string {
  if (err instanceof IdentityError) return text(`open.error.${err.message}` as TextKey);
  if (err instanceof WaveError) return text("open.error.damaged");
  throw err;
}
