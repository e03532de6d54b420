/** What every command is given. */

import type { Io } from "./io.ts";

/** Options that every command takes. */
export interface GlobalOptions {
  /** path of config.toml */
  config: string;
  /** which node this machine is; undefined: found by its host name */
  node: string | undefined;
  /** the agent's address where it is not this machine's own */
  url: string | undefined;
  /** the token's file where it is not the one that the configuration names */
  tokenFile: string | undefined;
}

export interface Context {
  io: Io;
  options: GlobalOptions;
}

/** Where the configuration is, unless `--config` or UNDERSTUDY_CONFIG says otherwise. */
export const DEFAULT_CONFIG = "/etc/understudy/config.toml";
