// Recordings: searched by number, purpose, date and state.

import { type Desk, purposeOptions } from "../desk";
import type { Recordings, Summary, Tombstone } from "../documents";
import { button, element, field, select, table } from "../dom";
import { duration, instant, number, short } from "../format";
import type { Search } from "../service";
import { text, word } from "../texts";

const STATES = ["open", "sealed", "aborted", "shredded", "discarded"] as const;

export async function recordings(desk: Desk): Promise<HTMLElement> {
  const results = element("div", { class: "results", "aria-live": "polite" });
  const [form, search] = searchForm(desk);
  const look = async (): Promise<void> => {
    const wanted = search();
    results.replaceChildren(...(await page(desk, wanted, results)));
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    desk.attempt(look);
  });
  await look();
  return element("div", {}, element("h1", {}, text("nav.recordings")), form, results);
}

function searchForm(desk: Desk): [HTMLFormElement, () => Search] {
  const phone = element("input", { type: "tel", name: "number", autocomplete: "off", spellcheck: "false" });
  const purpose = select("purpose", purposeOptions(desk));
  const state = select("state", [["", text("search.any")], ...STATES.map((one) => [one, word("state", one)] as const)]);
  const since = element("input", { type: "date", name: "since" });
  const until = element("input", { type: "date", name: "until" });
  const form = element(
    "form",
    { class: "search card", role: "search" },
    desk.may("recordings.search") ? field(text("search.number"), phone, text("search.number.hint")) : null,
    field(text("search.purpose"), purpose),
    field(text("search.state"), state),
    field(text("search.since"), since),
    field(text("search.until"), until),
    button(text("search.go"), { type: "submit", class: "primary" }, () => undefined),
  );
  const search = (): Search => ({
    number: phone.value.trim(),
    purpose: purpose.value,
    state: state.value,
    since: midnight(since.value, 0),
    until: midnight(until.value, 1),
  });
  return [form, search];
}

async function page(desk: Desk, wanted: Search, results: HTMLElement): Promise<HTMLElement[]> {
  const found = await desk.service.recordings(wanted);
  const shown = found.recordings.filter(({ state }) => wanted.state === "" || state === wanted.state);
  const rows = [...shown.map(living), ...found.gone.map(gone)];
  const parts: HTMLElement[] = [element("p", { class: "count" }, countOf(rows.length))];
  if (found.not_searched.length > 0) {
    parts.push(element("p", { class: "alert" }, text("search.elsewhere", { nodes: found.not_searched.join(", ") })));
  }
  if (rows.length > 0) parts.push(table(text("nav.recordings"), heads(), rows));
  const last = oldest(found);
  if (found.more && last !== "") {
    const more = button(text("search.more"), {}, () => {
      desk.attempt(async () => {
        const older = await page(desk, { ...wanted, until: last }, results);
        more.replaceWith(...older.slice(1));
      });
    });
    parts.push(more);
  }
  return parts;
}

function heads(): string[] {
  return [
    text("col.started"),
    text("col.length"),
    text("col.purpose"),
    text("col.direction"),
    text("col.state"),
    text("col.expiry"),
    text("col.recording"),
  ];
}

function living(row: Summary): (Node | string)[] {
  return [
    instant(row.started),
    row.duration_s === null ? "–" : duration(row.duration_s),
    row.purposes.join(", "),
    word("direction", row.direction),
    stateOf(row.state, row.held),
    instant(row.expiry),
    recordingLink(row.id),
  ];
}

function gone(stone: Tombstone): (Node | string)[] {
  return [
    stone.started_on,
    `≤ ${stone.minutes_at_most} min`,
    stone.purpose,
    "–",
    stateOf(stone.state, false),
    instant(stone.gone_at),
    recordingLink(stone.id),
  ];
}

/** A recording's page, by the first digits of its id. */
export function recordingLink(id: string): HTMLElement {
  return element("a", { href: `#recordings/${encodeURIComponent(id)}`, class: "mono" }, short(id));
}

/** A state as a small mark; held recordings say so too. */
export function stateOf(state: string, held: boolean): HTMLElement {
  const mark = element("span", { class: "mark", "data-state": state }, word("state", state));
  if (!held) return mark;
  return element("span", {}, mark, " ", element("span", { class: "mark", "data-state": "held" }, text("state.held")));
}

function countOf(count: number): string {
  if (count === 0) return text("search.found.none");
  return count === 1 ? text("search.found.one") : text("search.found", { count: number(count) });
}

function oldest(found: Recordings): string {
  return found.recordings.at(-1)?.started ?? "";
}

/** The begin of a day here, some days on, as RFC 3339; empty for no day. */
function midnight(day: string, daysOn: number): string {
  const [year, month, date] = day.split("-").map(Number);
  if (year === undefined || month === undefined || date === undefined) return "";
  return new Date(year, month - 1, date + daysOn).toISOString();
}
