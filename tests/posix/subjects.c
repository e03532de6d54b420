/* The subjects in the order in which they run. */
#include "check.h"

#define SUBJECTS(each)                                                                             \
  each(open) each(names) each(link) each(rename) each(directory) each(symlink) each(special)       \
  each(data) each(sparse) each(mapped) each(direct) each(times) each(modes) each(permission)       \
  each(xattr) each(acl) each(flags) each(locks) each(transfer) each(system) each(notify)           \
  each(place)

#define DECLARE(name) void subject_##name(void);
SUBJECTS(DECLARE)

#define ENTRY(name) {#name, subject_##name},
const struct subject subjects[] = {SUBJECTS(ENTRY){NULL, NULL}};
