/** A command that did not do what was asked: the message says why, and goes to standard error. */

/** 1: refused or failed. 2: used in a wrong way. */
export type FailureCode = 1 | 2;

export class Failure extends Error {
  override name = "Failure";
  constructor(message: string, readonly code: FailureCode = 1) {
    super(message);
  }
}
