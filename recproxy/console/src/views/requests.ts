// Four eyes: who asked to hear which recording, and the word of another.

import type { Desk } from "../desk";
import type { Facts, Ticket } from "../documents";
import { button, element, field, select, table } from "../dom";
import { instant } from "../format";
import { text, word } from "../texts";
import { recordingLink } from "./recordings";

export async function requests(desk: Desk): Promise<HTMLElement> {
  const { requests: found } = await desk.service.requests();
  return element(
    "div",
    {},
    element("h1", {}, text("nav.requests")),
    element("p", { class: "about" }, text("requests.about")),
    found.length === 0 ? element("p", {}, text("requests.none")) : tableOf(desk, found),
  );
}

function tableOf(desk: Desk, found: readonly Ticket[]): HTMLElement {
  const heads = [
    text("col.recording"),
    text("requests.use"),
    text("col.state"),
    text("holds.until"),
    text("holds.requested_by"),
    text("holds.approved_by"),
    "",
  ];
  const rows = found.map((ticket) => {
    const state = ticket.approved_by ? "active" : "requested";
    return [
      recordingLink(ticket.recording),
      ticket.use,
      element("span", { class: "mark", "data-state": state }, word("requests", state)),
      instant(ticket.ends),
      ticket.requested_by,
      ticket.approved_by ?? "",
      ticket.approved_by || !desk.may("tickets.approve") ? null : approval(desk, ticket),
    ];
  });
  return table(text("nav.requests"), heads, rows);
}

function approval(desk: Desk, ticket: Ticket): HTMLElement {
  return button(text("holds.approve"), { class: "primary" }, () =>
    desk.attempt(async () => {
      await desk.service.approveHearing(ticket.id);
      desk.refresh();
    }),
  );
}

/** Asks that another person lets this recording be heard. */
export function asking(desk: Desk, row: Facts, uses: readonly string[]): HTMLElement {
  const use = select("use", uses.map((one) => [one, one] as const));
  const why = element("input", { name: "why", maxlength: 200, autocomplete: "off" });
  const form = element(
    "form",
    { class: "open" },
    element("p", {}, text("open.two")),
    field(text("open.use"), use),
    field(text("requests.why"), why, text("requests.why.hint")),
    button(text("requests.ask"), { type: "submit", class: "primary" }, () => undefined),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    desk.attempt(async () => {
      await desk.service.askToHear(row.id, use.value, why.value.trim());
      form.replaceChildren(element("p", { role: "status", class: "ready" }, text("requests.asked")));
    });
  });
  return form;
}
