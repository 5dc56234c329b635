/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_AGENT_READY_H
#define LEASEHOLD_AGENT_READY_H

/*
 * The startup gate. The agent keeps one line in a file of its state volume: "ok", or why the files
 * are not there yet. The probe is another process of the same container: it reads that line, and
 * needs no socket, no shell and none of the agent's libraries. Without a state volume the published
 * folder itself is looked at.
 */
#include "leasehold/api/agentcfg.h"
#include "leasehold/core/buf.h"

struct ready_gate {
    int dir; /* of the state volume; -1: none */
    bool open;
    char last[1024];
};

/* LH_E_OS when the state volume cannot be used. */
int ready_gate_init(struct ready_gate *g, const char *state_path, struct lh_err *err);
/* The line changes only if it is another; once open the gate stays open. */
void ready_gate_say(struct ready_gate *g, const char *cause);
void ready_gate_open(struct ready_gate *g);
void ready_gate_done(struct ready_gate *g);

/* The probe: true when open; otherwise the cause is in out. */
bool ready_probe(const struct lh_agentcfg *cfg, struct lh_buf *out);

#endif
