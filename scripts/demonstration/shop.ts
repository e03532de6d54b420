/**
 * The application of the demo: a shop that writes orders into an SQLite database and receipts into a
 * directory. What an order and a receipt hold follows from their numbers, so that a copy can be
 * checked without anything to compare it with.
 */
import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";

/** an order in this many has a receipt */
export const ordersPerReceipt = 10;

export interface Found {
  orders: number;
  receipts: number;
  /** what is wrong, a sentence each */
  faults: string[];
}

/** What the shop told its customers: the numbers that it has printed. */
export interface Acknowledged {
  lastOrder: number;
  receipts: Set<number>;
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** The content of order `id`. */
function orderText(id: number): string {
  return digest(`order ${id}`).repeat(4);
}

/** The content of the receipt of order `id`: from 100 bytes to about 200 kB. */
function receiptText(id: number): string {
  const line = `${digest(`receipt ${id}`)} order ${id}\n`;
  return line.repeat(1 + (id * 7919) % 2400);
}

export function receiptName(id: number): string {
  return `${String(id).padStart(8, "0")}.txt`;
}

/** Opens the database, made where it is missing; every commit is synced. */
export function openShop(folder: string): DatabaseSync {
  const db = new DatabaseSync(`${folder}/shop.db`);
  db.exec("PRAGMA synchronous = FULL");
  db.exec("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, text TEXT NOT NULL)");
  Deno.mkdirSync(`${folder}/receipts`, { recursive: true });
  return db;
}

/** The number of the last order, 0 where there is none. */
export function lastOrder(db: DatabaseSync): number {
  const row = db.prepare("SELECT max(id) AS last FROM orders").get();
  return Number(row?.last ?? 0);
}

/** Takes one order; when this returns, it is committed. */
export function takeOrder(db: DatabaseSync, id: number) {
  db.prepare("INSERT INTO orders (id, text) VALUES (?, ?)").run(id, orderText(id));
}

/** Writes a receipt as careful programs do: a new name, synced, then renamed, and the directory synced. */
export function writeReceipt(folder: string, id: number) {
  const name = `${folder}/receipts/${receiptName(id)}`;
  {
    using file = Deno.openSync(`${name}.new`, { write: true, create: true, truncate: true });
    const bytes = new TextEncoder().encode(receiptText(id));
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.syncSync();
  }
  Deno.renameSync(`${name}.new`, name);
  using directory = Deno.openSync(`${folder}/receipts`);
  directory.syncSync();
}

/**
 * Checks the shop in `folder`: the database is sound, every acknowledged order and receipt is there,
 * no order is missing between others, and all say what they must.
 */
export function checkShop(folder: string, acknowledged: Acknowledged): Found {
  const faults: string[] = [];
  const db = new DatabaseSync(`${folder}/shop.db`);
  let orders = 0;
  try {
    const verdict = db.prepare("PRAGMA integrity_check").get();
    if (verdict?.integrity_check !== "ok") {
      faults.push(`integrity check: ${JSON.stringify(verdict)}`);
    }
    for (const row of db.prepare("SELECT id, text FROM orders ORDER BY id").iterate()) {
      orders++;
      if (row.id !== orders) faults.push(`order ${orders} is missing before ${row.id}`);
      if (row.text !== orderText(Number(row.id))) faults.push(`order ${row.id} has a wrong text`);
      if (faults.length > 9) break;
    }
  } finally {
    db.close();
  }
  if (orders < acknowledged.lastOrder) {
    faults.push(`order ${acknowledged.lastOrder} was acknowledged, but the last one is ${orders}`);
  }
  let receipts = 0;
  for (const entry of Deno.readDirSync(`${folder}/receipts`)) {
    if (!entry.name.endsWith(".txt")) continue; // one that was being written
    receipts++;
    const text = Deno.readTextFileSync(`${folder}/receipts/${entry.name}`);
    if (text !== receiptText(parseInt(entry.name))) {
      faults.push(`receipt ${entry.name} has a wrong text`);
    }
  }
  for (const id of acknowledged.receipts) {
    try {
      Deno.statSync(`${folder}/receipts/${receiptName(id)}`);
    } catch {
      faults.push(`receipt ${receiptName(id)} was acknowledged, but is missing`);
    }
  }
  return { orders, receipts, faults };
}
