/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_AGENT_PROBE_H
#define LEASEHOLD_AGENT_PROBE_H

/*
 * What the running agent and its startup probe tell each other: one small file in the state volume.
 * First line "ready" or "waiting", then the one-line cause. No socket: the probe must work with a
 * read-only root, any uid and no network, and cost next to nothing each second.
 */
#include <stdbool.h>

#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

#define PROBE_FILE "probe"

/* Writes the file; equal content is not written again by the caller. */
int probe_write(const char *state_path, bool ready, struct lh_str cause, struct lh_err *err);
/* `leasehold-agent ready`: prints the cause, returns the exit status: 0 ready, 1 not. */
int probe_ask(const char *state_path);

#endif
