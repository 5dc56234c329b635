/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_AUDIT_ROWS_H
#define LEASEHOLD_CLI_AUDIT_ROWS_H

/* An audit in the order in which people read it: what matters most comes first. */
#include "audit.h"

struct audit_row {
    const char *name; /* borrowed from the groups */
    uint64_t n[AUDIT_PROTECTIONS], all;
};
/* out: struct audit_row, initialised here, the caller's also on failure. Secrets, then what else is
 * encrypted, then the most. groups: as audit_groups() gives them. */
int audit_rows_of_kinds(const struct lh_vec *groups, struct lh_vec *out);
/* Secrets by namespace, those with the most in plain text first. */
int audit_rows_of_secrets(const struct lh_vec *groups, struct lh_vec *out);
/* Those from first on, added up. */
struct audit_row audit_rows_sum(const struct lh_vec *rows, size_t first);

/* A workload that uses secrets, with what it came to. */
struct audit_seen {
    const struct audit_workload *w;
    enum audit_protection protection;
    enum audit_proof proof;
};
/* out: struct audit_seen, as above, the worst first. bare: how many use no secret. */
int audit_seen_list(const struct audit *a, struct lh_vec *out, size_t *bare);

/* Verdicts by result. */
void audit_tally(const struct lh_vec *verdicts, size_t out[AUDIT_RESULTS]);
/* Those of one result, the most severe first: struct audit_verdict *. out: as above. */
int audit_verdicts_of(const struct lh_vec *verdicts, enum audit_result r, struct lh_vec *out);

#endif
