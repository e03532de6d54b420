/**
 * The shop as a process: takes orders in FOLDER until it is ended, or COUNT of them. A line on standard
 * output, `order 12` or `receipt 10`, is its word to the customer that this is safe.
 *
 * usage: application.ts work FOLDER [COUNT]   goes on after the last order
 *        application.ts check FOLDER          reads {lastOrder, receipts} from standard input, prints what it found as JSON
 */
import { text } from "node:stream/consumers";
import process from "node:process";
import {
  checkShop,
  lastOrder,
  openShop,
  ordersPerReceipt,
  takeOrder,
  writeReceipt,
} from "./shop.ts";

const [command, folder, count] = Deno.args;

function say(line: string) {
  const bytes = new TextEncoder().encode(`${line}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

if (command === "check") {
  const told = JSON.parse(await text(process.stdin));
  const acknowledged = { lastOrder: told.lastOrder, receipts: new Set<number>(told.receipts) };
  say(JSON.stringify(checkShop(folder, acknowledged)));
} else if (command === "work") {
  const db = openShop(folder);
  const first = lastOrder(db) + 1;
  for (let id = first; id < first + Number(count ?? Infinity); id++) {
    takeOrder(db, id);
    say(`order ${id}`);
    if (id % ordersPerReceipt === 0) {
      writeReceipt(folder, id);
      say(`receipt ${id}`);
    }
  }
  db.close();
} else {
  console.error("usage: application.ts work FOLDER [COUNT] | check FOLDER");
  Deno.exit(2);
}
