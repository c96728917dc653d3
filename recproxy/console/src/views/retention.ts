// What is kept and until when; and whether anything is late.

import { columns, type Stack } from "../chart";
import type { Desk } from "../desk";
import type { Retention } from "../documents";
import { element, table } from "../dom";
import { duration, number } from "../format";
import { text } from "../texts";

const LATER = "later";
const SPANS = ["P1D", "P7D", "P14D", "P21D", "P28D", "P56D", "P91D", "P182D", "P365D", LATER];
const DAYS_OF_MONTH = 30.4;

export async function retention(desk: Desk): Promise<HTMLElement> {
  const found = await desk.service.retention();
  const stacks = stacksOf(found);
  const late = found.overdue > 0;
  return element(
    "div",
    {},
    element("h1", {}, text("retention.title")),
    element(
      "div",
      { class: "figures" },
      figure(text("retention.kept"), found.recordings),
      figure(text("retention.held"), found.held),
      figure(text("retention.overdue"), found.overdue, late ? "bad" : "good"),
      figure(text("retention.shredded"), found.shredded),
    ),
    element(
      "p",
      { class: late ? "verdict bad" : "verdict good", role: "status" },
      late ? text("retention.oldest", { length: duration(found.oldest_overdue_s) }) : text("retention.intime"),
    ),
    element("section", { class: "card" }, columns(text("retention.chart"), stacks), tableOf(stacks)),
  );
}

function figure(label: string, value: number, verdict = ""): HTMLElement {
  return element(
    "div",
    { class: `card figure ${verdict}` },
    element("span", { class: "amount" }, number(value)),
    element("span", {}, label),
  );
}

/** A column for each span of the server's, also where nothing expires. */
function stacksOf(found: Retention): Stack[] {
  const spans = [...new Set([...SPANS, ...found.expiring.map(({ within }) => within)])];
  return spans
    .toSorted((a, b) => days(a) - days(b))
    .map((within) => ({
      label: spanText(within),
      parts: found.expiring
        .filter((bucket) => bucket.within === within)
        .map(({ purpose, recordings }) => ({ series: purpose, value: recordings })),
    }));
}

function tableOf(stacks: readonly Stack[]): HTMLElement {
  const rows = stacks.flatMap(({ label, parts }) => parts.map(({ series, value }) => [label, series, number(value)]));
  return table(text("retention.chart"), [text("retention.within"), text("col.purpose"), text("nav.recordings")], rows);
}

/** Length of a span in days; what is no whole number of days is the last. */
function days(span: string): number {
  return Number(/^P(\d+)D$/.exec(span)?.[1] ?? Number.POSITIVE_INFINITY);
}

function spanText(span: string): string {
  const count = days(span);
  if (!Number.isFinite(count)) return span === LATER ? text("retention.later") : span;
  if (count < 7) return text("retention.days", { count });
  if (count < 60) return text("retention.weeks", { count: Math.round(count / 7) });
  return text("retention.months", { count: Math.round(count / DAYS_OF_MONTH) });
}
