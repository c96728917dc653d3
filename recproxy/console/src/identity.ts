// The privacy officer's identities (private keys). They stay in this object, in this tab, and
// are given to the age library alone; nothing here sends or stores them.

import { Decrypter } from "age-encryption";

export class IdentityError extends Error {}

const SEALED = "age-encryption.org/v1\n";
const IDENTITY = /^AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]+$/;

export class Identities {
  #texts: readonly string[] = [];

  get present(): boolean {
    return this.#texts.length > 0;
  }

  /** Take an identity file as age-keygen writes it; with its passphrase if it is locked by one. */
  async take(file: Uint8Array, passphrase: string): Promise<void> {
    const texts = lines(isSealed(file) ? await unlocked(file, passphrase) : new TextDecoder().decode(file));
    if (texts.length === 0 || !texts.every((text) => IDENTITY.test(text))) throw new IdentityError("malformed");
    try {
      opener(texts);
    } catch (err) {
      throw new IdentityError("malformed", { cause: err });
    }
    this.#texts = texts;
  }

  /** Forget them. */
  clear(): void {
    this.#texts = [];
  }

  /**
   * Open an age file of ours, as it comes. Its end says whether all of it was there. If they do
   * not open it they are forgotten, and others can be given.
   */
  async *open(ciphertext: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      const reader = (await opener(this.#texts).decrypt(ciphertext)).getReader();
      for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
    } catch (err) {
      if (err instanceof TypeError) throw err; // the network
      this.clear();
      const wrong = err instanceof Error && err.message.includes("no identity matched");
      throw new IdentityError(wrong ? "mismatch" : "damaged", { cause: err });
    }
  }
}

/** Whether an identity file is itself encrypted, by a passphrase. */
export function isSealed(file: Uint8Array): boolean {
  return new TextDecoder().decode(file.subarray(0, SEALED.length)) === SEALED;
}

function opener(texts: readonly string[]): Decrypter {
  const decrypter = new Decrypter();
  for (const text of texts) decrypter.addIdentity(text);
  return decrypter;
}

async function unlocked(file: Uint8Array, passphrase: string): Promise<string> {
  const decrypter = new Decrypter();
  decrypter.addPassphrase(passphrase);
  try {
    return await decrypter.decrypt(file, "text");
  } catch (err) {
    throw new IdentityError("passphrase", { cause: err });
  }
}

function lines(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}
