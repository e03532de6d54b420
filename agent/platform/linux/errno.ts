/** Names for errno values, and the error that carries one. */

import { Errno } from "./constants.ts";

const names = new Map<number, string>(Object.entries(Errno).map(([name, value]) => [value, name]));

/** `EBUSY` for 16; `errno 4711` for a value without a name here. */
export function errnoName(value: number): string {
  return names.get(value) ?? `errno ${value}`;
}

/** A system call that failed. `message` ends in what an operator can do, where there is something. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  constructor(
    /** the call, e.g. `mount` */
    readonly call: string,
    /** positive errno */
    readonly errno: number,
    /** what it was called on, e.g. a path */
    readonly subject: string,
    /** a sentence for the operator; empty where the errno says all */
    readonly advice = "",
  ) {
    super(`Cannot ${call} ${subject}: ${errnoName(errno)}${advice === "" ? "" : `. ${advice}`}`);
  }
  /** the errno's name, e.g. `EBUSY` */
  get code(): string {
    return errnoName(this.errno);
  }
}
