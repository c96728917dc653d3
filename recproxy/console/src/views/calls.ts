// Calls that go on, with pause and resume; there is no listening in.

import type { Desk } from "../desk";
import type { Call } from "../documents";
import { button, type Child, element, table } from "../dom";
import { duration } from "../format";
import { text, word } from "../texts";

const EVERY_MS = 2_000;

export async function calls(desk: Desk): Promise<HTMLElement> {
  const list = element("div", { "aria-live": "off" });
  const look = async (): Promise<void> => {
    const found = await desk.service.calls();
    if (list.contains(document.activeElement)) focusKept(list, () => show(desk, list, found.calls, look));
    else show(desk, list, found.calls, look);
  };
  await look();
  const timer = setInterval(() => desk.watch(look), EVERY_MS);
  desk.leaving(() => clearInterval(timer));
  return element(
    "div",
    {},
    element("h1", {}, text("calls.title")),
    element("p", { class: "about" }, text("calls.about")),
    list,
  );
}

function show(desk: Desk, list: HTMLElement, found: readonly Call[], look: () => Promise<void>): void {
  if (found.length === 0) {
    list.replaceChildren(element("p", {}, text("calls.none")));
    return;
  }
  const heads = [text("calls.parties"), text("col.length"), text("col.purpose"), text("calls.recording"), ""];
  const rows = found.map((call): Child[] => [
    `${call.caller || "–"} → ${call.callee || "–"}`,
    duration((Date.now() - new Date(call.answered ?? call.started).getTime()) / 1000),
    call.purpose.replaceAll(",", ", ") || "–",
    element("span", { class: "mark", "data-state": call.recording_state }, word("calls", call.recording_state)),
    steering(desk, call, look),
  ]);
  list.replaceChildren(table(text("calls.title"), heads, rows));
}

function steering(desk: Desk, call: Call, look: () => Promise<void>): Child {
  const verb = call.recording_state === "paused" ? "resume" : "pause";
  const recorded = call.recording_state === "paused" || call.recording_state === "on";
  if (!recorded || !call.pausable || !desk.may(`calls.${verb}`)) return null;
  return button(text(`calls.${verb}`), { "data-call": call.ref }, () => {
    desk.attempt(async () => {
      await desk.service.steer(call.ref, verb);
      await look();
    });
  });
}

/** Draw anew, with the focus where it was. */
function focusKept(list: HTMLElement, draw: () => void): void {
  const ref = (document.activeElement as HTMLElement | null)?.dataset["call"];
  draw();
  if (ref !== undefined) list.querySelector<HTMLElement>(`[data-call="${CSS.escape(ref)}"]`)?.focus();
}
