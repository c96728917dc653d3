// The door: a token, kept in memory alone.

import { button, element, field } from "../dom";
import { text } from "../texts";

/** @param enter Tries a token; resolves to why it is refused, or to an empty text. */
export function signIn(notice: string, enter: (token: string) => Promise<string>): HTMLElement {
  const token = element("input", {
    type: "password",
    name: "token",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
  });
  const alert = element("p", { class: "alert", role: "alert", hidden: notice === "" }, notice);
  const submit = button(text("signin.go"), { type: "submit", class: "primary" }, () => undefined);
  const form = element(
    "form",
    { class: "card narrow", novalidate: true },
    element("h1", {}, text("signin.title")),
    alert,
    field(text("signin.token"), token, text("signin.hint")),
    submit,
    element("p", { class: "promise" }, text("signin.promise")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit.disabled = true;
    void enter(token.value.trim()).then((problem) => {
      submit.disabled = false;
      token.value = "";
      alert.textContent = problem;
      alert.hidden = problem === "";
      if (problem) token.focus();
    });
  });
  return form;
}
