/**
 * Plain numbers for 64-bit arguments of foreign functions.
 *
 * Deno's FFI takes a number where a 64-bit argument is declared, but V8 compiles the call for BigInts: each
 * number throws the compiled code away, and it is compiled anew, without an end (`--trace-deopt`: "not a
 * BigInt"). A conversion in front of the call costs next to nothing, since V8 never makes the BigInt.
 */

const wide: ReadonlySet<unknown> = new Set(["usize", "isize", "u64", "i64"]);

/**
 * The functions of a library with numbers allowed for 64-bit arguments. Each gets a function of its own
 * source: one closure for all would be one call site for all, which V8 cannot compile to a direct call.
 */
export function takeNumbers(
  functions: Record<string, unknown>,
  table: Deno.ForeignLibraryInterface,
): Record<string, unknown> {
  const made: Record<string, unknown> = {};
  for (const [name, declared] of Object.entries(table)) {
    if (!("parameters" in declared) || !declared.parameters.some((p) => wide.has(p))) {
      made[name] = functions[name];
      continue;
    }
    const names = declared.parameters.map((_, i) => `a${i}`);
    const passed = declared.parameters.map((p, i) => wide.has(p) ? `BigInt(a${i})` : `a${i}`);
    const make = new Function("call", `return (${names}) => call(${passed});`);
    made[name] = make(functions[name]);
  }
  return made;
}
