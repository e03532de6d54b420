/** The configuration after validation: plain data, durations in milliseconds, defaults filled in. */

export interface NodeConfig {
  name: string;
  /** one address per network, in order of preference */
  addresses: string[];
}

export interface AgentConfig {
  /** the file it came from */
  file: string;
  state_dir: string;
  modules_dir: string;
  nodes: NodeConfig[];
  cluster: {
    port: number;
    secret_file: string;
    encryption: "on" | "off";
  };
  heartbeat: {
    interval: number;
    timeout: number;
    ack_timeout: number;
  };
  witness: {
    kind: "understudy" | "etcd" | "ping" | "none";
    endpoints: string[];
  };
  http: {
    /** "host:port" */
    listen: string;
    token_file: string;
  };
  log: {
    level: "debug" | "info" | "warning" | "error";
    format: "text" | "json";
  };
}

export type CheckKind =
  | "tcp"
  | "http"
  | "process"
  | "ping"
  | "interface"
  | "vip"
  | "disk"
  | "exec"
  | "module";

export interface CheckConfig {
  name: string;
  kind: CheckKind;
  /** in the kind's own terms; "" for a vip or disk check stands for all of the module's */
  target: string;
  on: "primary" | "secondary" | "both" | "before-start";
  interval: number;
  timeout: number;
  failures: number;
  action: "restart" | "failover" | "stop" | "wait" | "none";
}

export interface ModuleConfig {
  /** the file it came from */
  file: string;
  name: string;
  /** always two, in the order of the file or of config.toml */
  nodes: string[];
  mirror: {
    sync: "write" | "fsync";
    directories: { path: string; exclude: string[] }[];
  };
  vip: { address: string; interface: string | undefined }[];
  application: {
    start: string | undefined;
    stop: string | undefined;
    start_timeout: number;
    stop_timeout: number;
  };
  checks: CheckConfig[];
  failover: {
    mode: "auto" | "manual";
    preferred: string | undefined;
    failback: "manual" | "auto";
    max_restarts: number;
    /** milliseconds */
    window: number;
  };
  /** sha-256 of the canonical definition: equal on both nodes where the definitions agree */
  digest: string;
}

/** One mistake or warning in a file. */
export interface Finding {
  severity: "error" | "warning";
  file: string;
  /** 1-based; of an absent key the line of its table; undefined for the file as a whole */
  line: number | undefined;
  /** dotted path, e.g. `heartbeat.timeout` or `nodes[1].addresses` */
  key: string;
  expected: string;
  found: string;
  /** the whole message, one sentence an operator can act on */
  message: string;
}
