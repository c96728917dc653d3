// Holds: asked for by one person, approved by another, released when they are over.

import type { Desk } from "../desk";
import type { Hold } from "../documents";
import { button, element, field, select, table } from "../dom";
import { instant } from "../format";
import { text, word } from "../texts";
import { recordingLink } from "./recordings";

const REASONS = ["claim", "order", "regulator", "statute", "investigation"] as const;
const DAY_MS = 86_400_000;
const USUAL_DAYS = 90;

export async function holds(desk: Desk): Promise<HTMLElement> {
  const list = element("div", { "aria-live": "polite" });
  const ended = element("input", { type: "checkbox" });
  const look = async (): Promise<void> => {
    const found = await desk.service.holds(ended.checked);
    list.replaceChildren(found.holds.length === 0 ? element("p", {}, text("holds.none")) : tableOf(desk, found.holds));
  };
  ended.addEventListener("change", () => desk.attempt(look));
  await look();
  return element(
    "div",
    {},
    element("h1", {}, text("holds.title")),
    element("p", { class: "about" }, text("holds.about")),
    element("label", { class: "check" }, ended, text("holds.ended")),
    list,
    desk.may("holds.request") ? requestForm(desk, look) : null,
  );
}

function tableOf(desk: Desk, found: readonly Hold[]): HTMLElement {
  const heads = [
    text("holds.case"),
    text("holds.reason"),
    text("col.state"),
    text("holds.until"),
    text("holds.requested_by"),
    text("holds.approved_by"),
    text("nav.recordings"),
    "",
  ];
  const rows = found.map((hold) => [
    hold.case_ref,
    word("reason", hold.reason),
    element("span", { class: "mark", "data-state": hold.state }, word("holds.state", hold.state)),
    instant(hold.ends),
    hold.requested_by,
    hold.approved_by,
    element("span", {}, ...hold.recordings.flatMap((id) => [recordingLink(id), " "])),
    decisions(desk, hold),
  ]);
  return table(text("holds.title"), heads, rows);
}

function decisions(desk: Desk, hold: Hold): HTMLElement {
  const decide = (verb: "approve" | "release"): void => {
    desk.attempt(async () => {
      await desk.service.decideHold(hold.id, verb);
      desk.refresh();
    });
  };
  const standing = hold.state === "requested" || hold.state === "active";
  const offered = [
    hold.state === "requested" && desk.may("holds.approve")
      ? button(text("holds.approve"), { class: "primary" }, () => decide("approve"))
      : null,
    standing && hold.kind === "legal" && desk.may("holds.release")
      ? button(text("holds.release"), {}, () => {
          if (window.confirm(text("holds.release.sure"))) decide("release");
        })
      : null,
  ];
  return element("div", { class: "row" }, ...offered);
}

function requestForm(desk: Desk, look: () => Promise<void>): HTMLElement {
  const ids = element("textarea", { name: "recordings", rows: 3, class: "mono", spellcheck: "false", required: true });
  const reason = select("reason", REASONS.map((one) => [one, word("reason", one)] as const));
  const caseRef = element("input", { name: "case_ref", maxlength: 64, required: true, autocomplete: "off" });
  const until = element("input", { type: "date", name: "until", required: true });
  until.value = new Date(Date.now() + USUAL_DAYS * DAY_MS).toISOString().slice(0, 10);
  const form = element(
    "form",
    { class: "card" },
    element("h2", {}, text("holds.request")),
    field(text("holds.recordings"), ids),
    element(
      "div",
      { class: "search" },
      field(text("holds.reason"), reason),
      field(text("holds.case"), caseRef, text("holds.case.hint")),
      field(text("holds.until"), until),
      button(text("holds.ask"), { type: "submit", class: "primary" }, () => undefined),
    ),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    desk.attempt(async () => {
      const recordings = ids.value.split(/\s+/).filter((id) => id !== "");
      await desk.service.requestHold({
        recordings,
        reason: reason.value,
        case_ref: caseRef.value.trim(),
        until: until.value,
      });
      form.reset();
      await look();
    });
  });
  return form;
}
