// The audit chain: its lines, newest first, and whether it is whole.

import type { Desk } from "../desk";
import type { AuditPage, AuditVerdict } from "../documents";
import { button, element, table } from "../dom";
import { exactInstant, number } from "../format";
import { text } from "../texts";
import { recordingLink } from "./recordings";

const OWN_COLUMNS = new Set(["ts", "event", "actor"]);
const SEALS = new Set(["v", "seq", "prev", "sig", "key", "node"]);
const LONG_HEX = /\b([0-9a-f]{12})[0-9a-f]{20,}\b/g;

export async function audit(desk: Desk): Promise<HTMLElement> {
  const lines = element("div", {});
  lines.append(...pageOf(desk, await desk.service.audit(null)));
  const verdict = element("p", { role: "status", hidden: true });
  const verify = button(text("audit.verify"), { class: "primary" }, () => {
    desk.attempt(async () => show(verdict, await desk.service.verifyAudit()));
  });
  return element(
    "div",
    {},
    element("h1", {}, text("audit.title")),
    element("p", { class: "about" }, text("audit.about")),
    desk.may("audit.verify") ? element("div", { class: "row" }, verify) : null,
    verdict,
    lines,
  );
}

function pageOf(desk: Desk, page: AuditPage): HTMLElement[] {
  const heads = [text("audit.when"), text("audit.what"), text("audit.who"), text("audit.details")];
  const rows = page.lines.map((line) => [
    exactInstant(plain(line["ts"])),
    element("span", { class: "mono" }, plain(line["event"])),
    plain(line["actor"]),
    details(line),
  ]);
  const parts: HTMLElement[] = [table(text("audit.title"), heads, rows)];
  const { older } = page;
  if (older !== null) {
    const more = button(text("audit.older"), {}, () => {
      desk.attempt(async () => more.replaceWith(...pageOf(desk, await desk.service.audit(older))));
    });
    parts.push(more);
  }
  return parts;
}

/** The other fields, long hashes by their first digits; the recording leads to its page. */
function details(line: Readonly<Record<string, unknown>>): HTMLElement {
  const { rec, ...others } = line;
  const shown = Object.entries(others)
    .filter(([name]) => !OWN_COLUMNS.has(name) && !SEALS.has(name))
    .map(([name, value]) => `${name}: ${plain(value).replace(LONG_HEX, "$1…")}`);
  const place = element("span", { class: "details" });
  if (typeof rec === "string") {
    place.append(recordingLink(rec), " ");
  }
  place.append(shown.join(" · "));
  return place;
}

function plain(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? "");
}

function show(place: HTMLElement, verdict: AuditVerdict): void {
  const lines = number(verdict.lines);
  place.className = verdict.sound ? "verdict good" : "verdict bad";
  place.textContent = verdict.sound
    ? text("audit.sound", { lines, first: exactInstant(verdict.first), last: exactInstant(verdict.last) })
    : text("audit.broken", { lines, reason: verdict.reason });
  place.hidden = false;
}
