// The HTTP API as the console uses it. The token lives in this object alone.

import type * as documents from "./documents";

/** An answer that is not what was asked for: application/problem+json (RFC 9457). */
export class Refused extends Error {
  constructor(
    readonly status: number,
    detail: string,
    readonly mend: string,
  ) {
    super(detail);
  }
}

export interface Search {
  readonly number: string;
  readonly purpose: string;
  readonly state: string;
  readonly since: string;
  readonly until: string;
}

export interface HoldRequest {
  readonly recordings: readonly string[];
  readonly reason: string;
  readonly case_ref: string;
  readonly until: string;
}

export class Service {
  readonly #token: string;

  constructor(token: string) {
    this.#token = token;
  }

  me(): Promise<documents.Me> {
    return this.#json("GET", "/v1/me");
  }

  policy(): Promise<documents.Policy> {
    return this.#json("GET", "/v1/policy");
  }

  calls(): Promise<{ readonly calls: readonly documents.Call[] }> {
    return this.#json("GET", "/v1/calls");
  }

  steer(ref: string, verb: "pause" | "resume"): Promise<documents.Call> {
    return this.#json("POST", `/v1/calls/${encodeURIComponent(ref)}/${verb}`);
  }

  /** Recordings, newest first. A number goes in the body: no URL and no log ever holds it. */
  recordings(search: Search): Promise<documents.Recordings> {
    const { number, state, ...rest } = search;
    const given = Object.entries(rest).filter(([, value]) => value !== "");
    if (number) return this.#json("POST", "/v1/recordings/search", { number, ...Object.fromEntries(given) });
    const query = new URLSearchParams(given);
    if (state) query.set("state", state);
    return this.#json("GET", `/v1/recordings?${query}`);
  }

  recording(id: string): Promise<documents.Facts | documents.Tombstone> {
    return this.#json("GET", `/v1/recordings/${encodeURIComponent(id)}`);
  }

  /** The recording as it is stored: an age file that the server cannot open. */
  ciphertext(id: string, use: string): Promise<ReadableStream<Uint8Array>> {
    return this.#sealed(id, "file", use);
  }

  /** What somebody wrote of it, likewise. */
  transcript(id: string, use: string): Promise<ReadableStream<Uint8Array>> {
    return this.#sealed(id, "transcript", use);
  }

  tag(id: string, tag: string, why: string): Promise<documents.Summary> {
    return this.#json("POST", `/v1/recordings/${encodeURIComponent(id)}/tag`, { tag, why });
  }

  requests(): Promise<{ readonly requests: readonly documents.Ticket[] }> {
    return this.#json("GET", "/v1/requests");
  }

  askToHear(id: string, use: string, why: string): Promise<documents.Ticket> {
    return this.#json("POST", `/v1/recordings/${encodeURIComponent(id)}/requests`, { use, why });
  }

  approveHearing(id: string): Promise<documents.Ticket> {
    return this.#json("POST", `/v1/requests/${encodeURIComponent(id)}/approve`);
  }

  retention(): Promise<documents.Retention> {
    return this.#json("GET", "/v1/retention");
  }

  holds(ended: boolean): Promise<{ readonly holds: readonly documents.Hold[] }> {
    return this.#json("GET", `/v1/holds?ended=${ended}`);
  }

  requestHold(request: HoldRequest): Promise<documents.Hold> {
    return this.#json("POST", "/v1/holds", request);
  }

  decideHold(id: string, verb: "approve" | "release"): Promise<documents.Hold> {
    return this.#json("POST", `/v1/holds/${encodeURIComponent(id)}/${verb}`);
  }

  audit(before: number | null): Promise<documents.AuditPage> {
    return this.#json("GET", before === null ? "/v1/audit?limit=50" : `/v1/audit?limit=50&before=${before}`);
  }

  verifyAudit(): Promise<documents.AuditVerdict> {
    return this.#json("GET", "/v1/audit/verification");
  }

  async #sealed(id: string, what: "file" | "transcript", use: string): Promise<ReadableStream<Uint8Array>> {
    const query = new URLSearchParams({ use });
    const answer = await this.#send("GET", `/v1/recordings/${encodeURIComponent(id)}/${what}?${query}`);
    return answer.body ?? new Blob().stream();
  }

  async #json<Document>(method: string, path: string, body?: unknown): Promise<Document> {
    return (await (await this.#send(method, path, body)).json()) as Document;
  }

  async #send(method: string, path: string, body?: unknown): Promise<Response> {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }
}

async function refusal(answer: Response): Promise<Refused> {
  if (!answer.headers.get("Content-Type")?.startsWith("application/problem+json")) {
    return new Refused(answer.status, `${answer.status} ${answer.statusText}`, "");
  }
  const problem = (await answer.json()) as { readonly detail?: string; readonly mend?: string };
  return new Refused(answer.status, problem.detail ?? answer.statusText, problem.mend ?? "");
}
