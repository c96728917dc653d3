// The documents of the HTTP API that the console reads; the API may add fields to them.

export interface Me {
  readonly name: string;
  readonly role: string;
  readonly operations: readonly string[];
}

export interface Call {
  readonly ref: string;
  readonly started: string;
  readonly answered: string | null;
  readonly trunk: string;
  readonly direction: string;
  readonly caller: string;
  readonly callee: string;
  readonly decision: string;
  readonly purpose: string;
  readonly recording: string;
  readonly recording_state: string;
  readonly pausable: boolean;
}

export interface Summary {
  readonly id: string;
  readonly state: string;
  readonly purpose: string;
  readonly purposes: readonly string[];
  readonly direction: string;
  readonly trunk: string;
  readonly started: string;
  readonly expiry: string;
  readonly duration_s: number | null;
  readonly bytes: number;
  readonly held: boolean;
}

export interface Tombstone {
  readonly id: string;
  readonly state: string;
  readonly purpose: string;
  readonly started_on: string;
  readonly minutes_at_most: number;
  readonly expiry: string;
  readonly gone_at: string;
  readonly out_of_backups_at: string | null;
  readonly cause: string;
  readonly verified: boolean;
  readonly audit_line: number;
}

export interface Recordings {
  readonly recordings: readonly Summary[];
  readonly gone: readonly Tombstone[];
  readonly more: boolean;
  /** Other nodes with recordings, among which no number was looked for. */
  readonly not_searched: readonly string[];
}

export interface Channel {
  readonly packets: number;
  readonly lost: number;
  readonly [figure: string]: unknown;
}

export interface Notice {
  readonly prompt: string;
  readonly sha256: string;
  readonly language: string;
  readonly heard_by: readonly string[];
  readonly started: string;
  readonly completed: string;
}

export interface Quality {
  readonly frames: number;
  readonly pauses: number;
  readonly paused_s: number;
  readonly dropped_packets: number;
  readonly caller: Channel | null;
  readonly callee: Channel | null;
}

export interface Term {
  readonly purpose: string;
  readonly legal_basis: string;
  readonly expiry: string;
  readonly notice: Notice;
}

/** Where nothing was recorded, in seconds from the beginning, and why, as the audit chain has it. */
export interface Pause {
  readonly from_s: number;
  readonly to_s: number;
  readonly why: string;
}

/** What was made from a recording, such as a transcript: none of its words. */
export interface Derived {
  readonly kind: string;
  readonly state: string;
  readonly language: string;
  readonly form: string;
  readonly by: string;
  readonly added: string;
  readonly expiry: string;
  readonly bytes: number;
}

export interface Facts extends Summary {
  readonly legal_basis: string;
  readonly policy_sha256: string;
  readonly call: string;
  readonly node: string;
  readonly ended: string | null;
  readonly hold_reference: string;
  readonly reason: string;
  readonly cause: string;
  readonly audio: { readonly encoding: string; readonly rate_hz: number; readonly channels: number };
  readonly sha256: string;
  readonly notice: Notice;
  readonly terms: readonly Term[];
  readonly quality: Quality | null;
  readonly uses: readonly string[];
  readonly playable: boolean;
  readonly tag: string;
  readonly pauses: readonly Pause[];
  readonly derived: readonly Derived[];
}

export interface Retention {
  readonly at: string;
  readonly recordings: number;
  readonly held: number;
  readonly overdue: number;
  readonly oldest_overdue_s: number;
  readonly shredded: number;
  readonly expiring: readonly { readonly purpose: string; readonly within: string; readonly recordings: number }[];
}

export interface Hold {
  readonly id: string;
  readonly state: string;
  readonly kind: string;
  readonly reason: string;
  readonly case_ref: string;
  readonly recordings: readonly string[];
  readonly requested_by: string;
  readonly requested_at: string;
  readonly ends: string;
  readonly approved_by: string;
}

/** A request to hear a recording, where two people must agree. */
export interface Ticket {
  readonly id: string;
  readonly recording: string;
  readonly use: string;
  readonly requested_by: string;
  readonly requested_at: string;
  readonly ends: string;
  readonly approved_by: string | null;
}

export interface AuditPage {
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  readonly older: number | null;
}

export interface AuditVerdict {
  readonly sound: boolean;
  readonly lines: number;
  readonly sha256: string;
  readonly first: string;
  readonly last: string;
  readonly fault: string;
  readonly reason: string;
}

export interface Policy {
  readonly version: string;
  readonly controller: string;
  readonly purposes: readonly {
    readonly name: string;
    readonly title: Readonly<Record<string, string>>;
    readonly keep_days: number;
    readonly uses: readonly string[];
    readonly four_eyes: boolean;
    /** Days that a recording is kept once it has the tag. */
    readonly tags: Readonly<Record<string, number>>;
    readonly pause_by_api: boolean;
  }[];
}
