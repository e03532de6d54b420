/**
 * A fresh ext4 of its own for a run, in a file on a loop device.
 *
 * What else happens on the machine's file system then has no part in the figures: other programs'
 * dirty pages, recently removed inodes (which an ext4 without a journal steps over one by one, at
 * tenths of a millisecond a new file), fragmentation.
 */

import { output } from "./host.ts";

/** Sparse: what the systems write is what it takes. */
const imageGiB = 16;

/**
 * Makes the image in `directory` and mounts it there. The mount is seen only in this process's mount
 * namespace, and the loop device goes with the mount; there is nothing to undo.
 */
export async function mountImage(directory: string): Promise<string> {
  const [file, mount] = [`${directory}/image`, `${directory}/data`];
  await Deno.mkdir(mount);
  await output([], ["truncate", "--size", `${imageGiB}G`, file]);
  // Tables made now are not made in the background while something is measured.
  const settings = ["-E", "lazy_itable_init=0,lazy_journal_init=0", "-N", "1000000"];
  await output([], ["mkfs.ext4", "-q", "-F", ...settings, file]);
  const attach = ["losetup", "--direct-io=on", "--find", "--show", file];
  const device = (await output([], attach)).trim();
  try {
    await output([], ["mount", "-t", "ext4", device, mount]);
  } finally {
    // Both are in use, and only marked to go with their last user.
    await output([], ["losetup", "--detach", device]);
    await Deno.remove(file);
  }
  return mount;
}
