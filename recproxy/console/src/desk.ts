// What every view works with: who is signed in, what they may, their keys, and how to go on.

import type { Me, Policy } from "./documents";
import type { Identities } from "./identity";
import type { Service } from "./service";
import { text } from "./texts";

export interface Desk {
  readonly service: Service;
  readonly me: Me;
  readonly identities: Identities;
  readonly purposes: Policy["purposes"];

  /** Whether the role of this token may do an operation of the API. */
  may(operation: string): boolean;

  /** Do something that may fail; what goes wrong is shown above the view. */
  attempt(action: () => Promise<void>): void;

  /** Do something again and again; errors are shown, and what stands there is not taken away. */
  watch(action: () => Promise<void>): void;

  /** Show an error that the user can mend. */
  complain(problem: string): void;

  /** Build the view anew. */
  refresh(): void;

  /** Have something done when the view is left, or the console is locked. */
  leaving(action: () => void): void;

  /** Somebody is here: the time without use starts again. */
  used(): void;
}

/** Builds a view; the argument is what follows its name in the address. */
export type View = (desk: Desk, argument: string) => Promise<HTMLElement>;

/** Purposes as options of a select, the first for all. */
export function purposeOptions(desk: Desk): readonly (readonly [string, string])[] {
  return [["", text("search.any")], ...desk.purposes.map(({ name }) => [name, name] as const)];
}
