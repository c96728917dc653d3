// The console: one page, one tab, nothing stored. Token, identity and audio are forgotten on
// lock, after some minutes without use, and when the page is left.

import type { Desk, View } from "./desk";
import { button, element, select } from "./dom";
import { Identities } from "./identity";
import { Refused, Service } from "./service";
import { language, type Language, speak, text, type TextKey } from "./texts";
import { audit } from "./views/audit";
import { calls } from "./views/calls";
import { holds } from "./views/holds";
import { recording } from "./views/recording";
import { recordings } from "./views/recordings";
import { requests } from "./views/requests";
import { retention } from "./views/retention";
import { signIn } from "./views/signin";

const IDLE_MINUTES = 10;

interface Place {
  readonly name: string;
  readonly label: TextKey;
  readonly operation: string;
  readonly view: View;
}

const PLACES: readonly Place[] = [
  {
    name: "recordings",
    label: "nav.recordings",
    operation: "recordings.list",
    view: (desk, id) => (id ? recording(desk, id) : recordings(desk)),
  },
  { name: "calls", label: "nav.calls", operation: "calls.list", view: calls },
  { name: "retention", label: "nav.retention", operation: "retention.show", view: retention },
  { name: "requests", label: "nav.requests", operation: "tickets.list", view: requests },
  { name: "holds", label: "nav.holds", operation: "holds.list", view: holds },
  { name: "audit", label: "nav.audit", operation: "audit.list", view: audit },
];

class Console {
  readonly #identities = new Identities();
  readonly #alert = element("p", { class: "alert", role: "alert", hidden: true });
  #desk: Desk | null = null;
  #main = element("main", { id: "content", tabindex: -1 });
  #left: (() => void)[] = [];
  #idle = 0;
  #visit = 0;

  start(): void {
    speak(navigator.language.toLowerCase().startsWith("nl") ? "nl" : "en");
    for (const sign of ["pointerdown", "keydown", "wheel"]) {
      addEventListener(sign, () => this.#used(), { passive: true });
    }
    addEventListener("hashchange", () => this.#draw());
    addEventListener("pagehide", () => this.#lock(""));
    this.#draw();
  }

  #used(): void {
    clearTimeout(this.#idle);
    if (this.#desk === null) return;
    this.#idle = setTimeout(() => this.#lock(text("app.locked.idle", { minutes: IDLE_MINUTES })), IDLE_MINUTES * 60_000);
  }

  #lock(notice: string): void {
    this.#leave();
    this.#identities.clear();
    this.#desk = null;
    clearTimeout(this.#idle);
    this.#draw(notice);
  }

  #leave(): void {
    this.#visit += 1;
    for (const action of this.#left.splice(0)) action();
  }

  async #enter(token: string): Promise<string> {
    try {
      const service = new Service(token);
      const me = await service.me();
      const { purposes } = await service.policy();
      this.#desk = {
        service,
        me,
        purposes,
        identities: this.#identities,
        may: (operation) => me.operations.includes(operation),
        attempt: (action) => {
          this.#complain("");
          void this.#attempt(action);
        },
        watch: (action) => void this.#attempt(action),
        complain: (problem) => this.#complain(problem),
        refresh: () => this.#draw(),
        leaving: (action) => this.#left.push(action),
        used: () => this.#used(),
      };
    } catch (err) {
      return why(err);
    }
    this.#used();
    this.#draw();
    return "";
  }

  #draw(notice = ""): void {
    this.#leave();
    this.#complain("");
    this.#main = element("main", { id: "content", tabindex: -1 });
    const desk = this.#desk;
    document.body.replaceChildren(
      element("a", { href: "#content", class: "skip" }, text("app.skip")),
      this.#header(desk),
      this.#main,
    );
    if (desk === null) {
      this.#main.append(signIn(notice, (token) => this.#enter(token)));
      this.#main.querySelector("input")?.focus();
      return;
    }
    const [place, argument] = here(desk);
    const waiting = element("p", { class: "waiting", role: "status" }, text("app.busy"));
    this.#main.append(this.#alert, waiting);
    const visit = this.#visit;
    void this.#attempt(async () => {
      try {
        const made = await place.view(desk, argument);
        if (visit === this.#visit) this.#main.append(made);
      } finally {
        waiting.remove();
      }
    });
  }

  #header(desk: Desk | null): HTMLElement {
    const tongue = select("language", [["en", "English"], ["nl", "Nederlands"]]);
    tongue.value = language();
    tongue.setAttribute("aria-label", text("app.language"));
    tongue.addEventListener("change", () => {
      speak(tongue.value as Language);
      this.#draw();
    });
    const brand = element("span", { class: "brand" }, "recproxy");
    if (desk === null) return element("header", {}, brand, element("span", { class: "gap" }), tongue);
    const [current] = here(desk);
    const links = PLACES.filter(({ operation }) => desk.may(operation)).map((place) =>
      element(
        "a",
        { href: `#${place.name}`, "aria-current": place === current ? "page" : false },
        text(place.label),
      ),
    );
    return element(
      "header",
      {},
      brand,
      element("nav", { "aria-label": text("nav.label") }, ...links),
      element("span", { class: "gap" }),
      element("span", { class: "who" }, `${desk.me.name} · ${desk.me.role}`),
      tongue,
      button(text("app.lock"), { class: "lock" }, () => this.#lock(text("app.locked"))),
    );
  }

  async #attempt(action: () => Promise<void>): Promise<void> {
    const main = this.#main;
    main.setAttribute("aria-busy", "true");
    try {
      await action();
    } catch (err) {
      if (main !== this.#main) return; // the view was left meanwhile
      if (err instanceof Refused && err.status === 401) this.#lock(why(err));
      else this.#complain(why(err));
    } finally {
      main.removeAttribute("aria-busy");
    }
  }

  #complain(problem: string): void {
    if (problem !== this.#alert.textContent) this.#alert.textContent = problem;
    this.#alert.hidden = problem === "";
    if (problem !== "") this.#alert.scrollIntoView({ block: "nearest" });
  }
}

function here(desk: Desk): [Place, string] {
  const [name = "", argument = ""] = location.hash.slice(1).split("/");
  const allowed = PLACES.filter(({ operation }) => desk.may(operation));
  const found = allowed.find((place) => place.name === name);
  const fallback = allowed[0] ?? (PLACES[2] as Place); // all roles see the retention
  return found === undefined ? [fallback, ""] : [found, decodeURIComponent(argument)];
}

function why(err: unknown): string {
  if (err instanceof Refused) return err.mend ? `${err.message} — ${err.mend}` : err.message;
  if (err instanceof TypeError && err.message.toLowerCase().includes("fetch")) return text("app.offline");
  return text("app.unexpected", { why: err instanceof Error ? err.message : String(err) });
}

new Console().start();
