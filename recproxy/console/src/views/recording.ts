// One recording: what is known of it, the proof of its announcement, and its sound.

import { course, type Span } from "../chart";
import type { Desk } from "../desk";
import type { Channel, Facts, Quality, Tombstone } from "../documents";
import { type Child, element, facts } from "../dom";
import { duration, exactInstant, instant, number, size, timeOfDay } from "../format";
import { text, word } from "../texts";
import { listening } from "./listening";
import { stateOf } from "./recordings";
import { tagging } from "./tagging";
import { transcript } from "./transcript";

const DAY_MS = 86_400_000;

export async function recording(desk: Desk, id: string): Promise<HTMLElement> {
  const found = await desk.service.recording(id);
  const back = element("a", { href: "#recordings", class: "back" }, `← ${text("recording.back")}`);
  const parts = "gone_at" in found ? tombstone(found) : living(desk, found);
  return element("div", {}, back, ...parts);
}

function living(desk: Desk, row: Facts): Child[] {
  const when = instant(row.started);
  const tags = tagging(desk, row);
  return [
    element("h1", {}, `${row.purposes.join(", ")} · ${when} `, stateOf(row.state, row.held)),
    card(text("recording.course"), course(courseText(row), courseSpans(row)), ...courseNotes(row)),
    listening(desk, row),
    transcript(desk, row),
    tags === null ? null : card(text("tag.title"), tags),
    element(
      "div",
      { class: "pair" },
      card(text("recording.call"), callFacts(row)),
      card(text("recording.notice"), noticeFacts(row)),
    ),
    element(
      "div",
      { class: "pair" },
      row.quality === null ? null : card(text("recording.quality"), qualityFacts(row.quality)),
      card(text("recording.proof"), proofFacts(row)),
    ),
  ];
}

function courseSpans(row: Facts): Span[] {
  const at = (value: string): number => new Date(value).getTime();
  return [
    { label: text("course.notice"), kind: "notice", from: at(row.notice.started), to: at(row.notice.completed) },
    { label: text("course.recorded"), kind: "recorded", from: at(row.started), to: at(row.ended ?? row.started) },
  ];
}

function courseText(row: Facts): string {
  return text("course.summary", {
    from: timeOfDay(row.notice.started),
    to: timeOfDay(row.notice.completed),
    start: timeOfDay(row.started),
    end: row.ended === null ? "…" : timeOfDay(row.ended),
  });
}

function courseNotes(row: Facts): HTMLElement[] {
  const notes = [courseText(row), kept(row)];
  if (row.tag !== "") notes.push(text("tag.kept", { tag: row.tag }));
  if (row.quality !== null) {
    const { pauses, paused_s } = row.quality;
    const length = duration(paused_s);
    notes.push(pauses === 0 ? text("course.pauses.none") : text("course.pauses", { count: pauses, length }));
  }
  for (const { from_s, to_s, why } of row.pauses) {
    notes.push(text("course.pause", { from: duration(from_s), to: duration(to_s), why: word("pause", why) }));
  }
  return notes.map((note) => element("p", {}, note));
}

function kept(row: Facts): string {
  const left = Math.ceil((new Date(row.expiry).getTime() - Date.now()) / DAY_MS);
  const expiry = instant(row.expiry);
  if (left > 0) return text("course.kept", { expiry, days: number(left) });
  return text(row.held ? "course.held" : "course.due", { expiry });
}

function callFacts(row: Facts): HTMLElement {
  return facts([
    [text("col.direction"), word("direction", row.direction)],
    [text("col.trunk"), row.trunk],
    [text("fact.started"), exactInstant(row.started)],
    [text("fact.ended"), row.ended === null ? null : exactInstant(row.ended)],
    [text("fact.length"), row.duration_s === null ? null : duration(row.duration_s)],
    [text("fact.basis"), row.legal_basis],
    [text("fact.hold"), row.hold_reference],
    [text("fact.reason"), row.reason],
    [text("fact.cause"), row.cause],
    [text("fact.call"), mono(row.call)],
  ]);
}

function noticeFacts(row: Facts): HTMLElement {
  return facts(
    row.terms.flatMap(({ purpose, expiry, notice }) => [
      [text("col.purpose"), `${purpose}, ${instant(expiry)}`] as const,
      [text("notice.prompt"), notice.prompt] as const,
      [text("notice.language"), notice.language] as const,
      [text("notice.heard"), notice.heard_by.map((side) => word("side", side)).join(", ")] as const,
      [text("notice.from"), exactInstant(notice.started)] as const,
      [text("notice.to"), exactInstant(notice.completed)] as const,
      [text("notice.sha256"), mono(notice.sha256)] as const,
    ]),
  );
}

function qualityFacts(quality: Quality): HTMLElement {
  return facts([
    [text("side.caller"), channel(quality.caller)],
    [text("side.callee"), channel(quality.callee)],
    [text("quality.dropped"), number(quality.dropped_packets)],
  ]);
}

function channel(found: Channel | null): string {
  if (found === null) return text("app.none");
  return `${number(found.packets)} ${text("quality.packets")}, ${number(found.lost)} ${text("quality.lost")}`;
}

function proofFacts(row: Facts): HTMLElement {
  return facts([
    [text("fact.id"), mono(row.id)],
    [text("fact.audio"), `${row.audio.encoding}, ${number(row.audio.rate_hz)} Hz`],
    [text("fact.size"), size(row.bytes)],
    [text("fact.sha256"), mono(row.sha256)],
    [text("fact.policy"), mono(row.policy_sha256)],
  ]);
}

function tombstone(stone: Tombstone): Node[] {
  const rows = facts([
    [text("fact.id"), mono(stone.id)],
    [text("fact.started"), stone.started_on],
    [text("fact.length"), `≤ ${stone.minutes_at_most} min`],
    [text("col.expiry"), instant(stone.expiry)],
    [text("fact.gone_at"), exactInstant(stone.gone_at)],
    [text("fact.backups"), stone.out_of_backups_at === null ? "–" : exactInstant(stone.out_of_backups_at)],
    [text("fact.cause"), stone.cause],
    [text("fact.verified"), stone.verified ? "✓" : "–"],
    [text("fact.audit_line"), number(stone.audit_line)],
  ]);
  return [
    element("h1", {}, `${stone.purpose} · ${stone.started_on} `, stateOf(stone.state, false)),
    card(text("recording.proof"), element("p", {}, text("recording.gone")), rows),
  ];
}

function card(title: string, ...children: Child[]): HTMLElement {
  return element("section", { class: "card" }, element("h2", {}, title), ...children);
}

function mono(value: string): HTMLElement | null {
  return value === "" ? null : element("span", { class: "mono" }, value);
}
