/** The systemd unit of the agent (systemd.service(5), systemd.exec(5)). */

export interface UnitOptions {
  /** absolute path of the binary */
  program: string;
  /** absolute path of config.toml */
  config: string;
  node?: string;
}

/** The text of understudy.service. */
export function unit({ program, config, node }: UnitOptions): string {
  const command = [program, "agent", "--config", config];
  if (node !== undefined) command.push("--node", node);
  return `# Made by \`understudy install\`. Changes of your own belong into a drop-in:
# systemctl edit understudy

[Unit]
Description=Understudy, the mirror of applications' directories
Wants=network-online.target
After=network-online.target local-fs.target
# An agent that fails is started again for as long as it takes.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart=${command.map(quote).join(" ")}
Restart=always
RestartSec=1
# An agent that hangs is ended at once: its mounts would hold up whoever uses them.
WatchdogSec=30
WatchdogSignal=SIGKILL
TimeoutStartSec=2min
# A clean stop ends the applications first, within their own stop_timeout.
TimeoutStopSec=10min
# Applications that the agent started live on when it is ended; the next one takes them over.
KillMode=process
# The same when the kernel, short of memory, ends a process of an application.
OOMPolicy=continue
OOMScoreAdjust=-500
TasksMax=infinity
LimitNOFILE=1048576

# Applications see the mirror's mounts only in the mount namespace that they share with the agent.
# So nothing here may give the agent a namespace of its own, which PrivateTmp, PrivateDevices,
# ProtectSystem, ProtectHome, ProtectKernelModules, ProtectKernelLogs, ReadOnlyPaths,
# TemporaryFileSystem and their like do. MemoryDenyWriteExecute would stop the JavaScript engine,
# ProtectClock would close /dev/fuse. Applications inherit what is set here: no system call filters,
# no NoNewPrivileges, no UMask.
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_TIME CAP_SYS_PACCT CAP_SYS_TTY_CONFIG
CapabilityBoundingSet=~CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND

[Install]
WantedBy=multi-user.target
`;
}

/** A word of a command line: specifiers and variables are none, blanks do not end it. */
function quote(word: string): string {
  const escaped = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[\w@:,./=+%$-]+$/.test(escaped) ? escaped : `"${escaped.replace(/["\\]/g, "\\$&")}"`;
}
