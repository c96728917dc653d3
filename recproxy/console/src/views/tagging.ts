// What came of a call: a tag by which its purpose keeps the recording longer.

import type { Desk } from "../desk";
import type { Facts } from "../documents";
import { button, element, field, select } from "../dom";
import { number } from "../format";
import { text } from "../texts";

const TAGGABLE: readonly string[] = ["open", "sealed", "aborted"];

/** The form that tags a recording; null if there is nothing to say, or it was said. */
export function tagging(desk: Desk, row: Facts): HTMLElement | null {
  const tags = desk.purposes.filter(({ name }) => row.purposes.includes(name)).flatMap(({ tags }) => Object.entries(tags));
  if (!desk.may("recordings.tag") || tags.length === 0 || row.tag !== "" || !TAGGABLE.includes(row.state)) return null;
  const options = tags.map(([tag, days]) => [tag, text("tag.days", { tag, days: number(days) })] as const);
  const tag = select("tag", options);
  const why = element("input", { name: "why", maxlength: 200, autocomplete: "off" });
  const form = element(
    "form",
    { class: "open" },
    element("p", {}, text("tag.about")),
    field(text("tag.tag"), tag),
    field(text("requests.why"), why, text("requests.why.hint")),
    button(text("tag.go"), { type: "submit" }, () => undefined),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    desk.attempt(async () => {
      await desk.service.tag(row.id, tag.value, why.value.trim());
      desk.refresh();
    });
  });
  return form;
}
