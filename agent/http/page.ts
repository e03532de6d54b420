/** The page at `/`: the modules and their states, for a quick look. Plain HTML, no script. */

import { createHash } from "node:crypto";
import type { AgentStatus, ModuleStatus } from "./facade.ts";

/** Seconds between two refreshes. */
const REFRESH = 3;

const style = `
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
body { margin: 2rem; max-width: 70rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .8rem; border-bottom: 1px solid #8884; vertical-align: top; }
.state { font-weight: bold; }
.good { color: #1a7f37; } .poor { color: #9a6700; } .bad { color: #cf222e; }
@media (prefers-color-scheme: dark) {
  .good { color: #3fb950; } .poor { color: #d29922; } .bad { color: #f85149; }
}
small { opacity: .75; }
`;

/** What the page may load: its own style, and nothing else. */
export const pagePolicy = `default-src 'none'; style-src 'sha256-${
  createHash("sha256").update(style).digest("base64")
}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** The whole page. */
export function page(status: AgentStatus): string {
  const rows = status.modules.map(row).join("\n");
  const table = status.modules.length === 0 ? "<p>No module is defined yet.</p>" : `<table>
<thead><tr><th>Module<th>State<th>Sync<th>Peer<th>Application<th>Reason</thead>
<tbody>
${rows}
</tbody>
</table>`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="${REFRESH}">
<title>${escape(status.node)}: Understudy</title>
<style>${style}</style>
<h1>${escape(status.node)}</h1>
${table}
<p><small>Understudy ${escape(status.version)}, <a href="status">status</a>, <a
href="events">events</a>, <a href="openapi.json">interface</a></small>
</html>
`;
}

function row(module: ModuleStatus): string {
  const { peer, resync } = module;
  const ready = module.ready ? "" : " <small>not ready</small>";
  const progress = resync === null
    ? ""
    : ` <small>${escape(resync.phase)}, ${count(resync.files_done)} files, ${
      count(resync.bytes_sent)
    } bytes sent</small>`;
  const warnings = module.warnings.map((w) => `<br><span class="poor">${escape(w)}</span>`);
  if (module.changed) {
    warnings.unshift('<br><span class="poor">its definition has changed: restart it</span>');
  }
  return `<tr><td>${escape(module.name)}<td><span class="state ${tone(module)}">${
    escape(module.state)
  }</span>${ready}<td>${escape(module.sync)}${progress}<td>${escape(peer.node)}: ${
    escape(peer.state ?? "not heard")
  }<td>${escape(module.application)}<td>${escape(module.reason)}${warnings.join("")}`;
}

/** Protected, serving or waiting without protection, or not there. */
function tone({ state, ready }: ModuleStatus): "good" | "poor" | "bad" {
  if (state === "STOP") return "bad";
  return ready && (state === "PRIM" || state === "SECOND") ? "good" : "poor";
}

/** `1,234,567`, without the megabytes that toLocaleString loads. */
function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}
