/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_JUDGE_H
#define LEASEHOLD_CLI_JUDGE_H

/* What inject and lint share: a world from files, and problems as lines for people. */
#include "leasehold/inject/inject.h"
#include "leasehold/objects/objects.h"

struct judge {
    struct lh_inject_world world;
    struct lh_policy *policy;
    struct lh_objects *objects; /* NULL: no stores are known */
};

/* stores and policy may be NULL. */
int judge_open(struct judge *j, const char *stores, const char *policy, struct lh_err *err);
void judge_close(struct judge *j);
/* "file:line: problem" on standard error for each problem that counts; the number that deny. */
unsigned judge_report(const struct lh_problems *ps, const lh_json *object, const char *file,
                      struct lh_str text, size_t document, bool with_stores);

#endif
