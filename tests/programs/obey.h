/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_TESTS_OBEY_H
#define LEASEHOLD_TESTS_OBEY_H

/* A program that does on a real API server what lines of JSON on stdin tell it ({"do": verb, ...}),
 * and says on stdout, a line each, what comes of it. */
#include "leasehold/codec/json.h"
#include "leasehold/core/loop.h"
#include "leasehold/kube/client.h"

struct obey_verb {
    const char *name;
    int (*fn)(const lh_json *cmd, struct lh_err *err);
};

struct obey {
    const char *name; /* as clients see it */
    const struct obey_verb *verbs;
    size_t n_verbs;
    void (*failed)(const struct lh_err *err); /* a command was not one, or could not be begun */
    /* After loop and kube were made. close also after a failed open. */
    int (*open)(struct lh_loop *loop, struct lh_kube *kube, struct lh_err *err);
    void (*close)(void);
};

/* main of such a program: argv[1] is a kubeconfig; ends with stdin. */
int obey_main(const struct obey *o, int argc, char **argv);
/* Prints one line, at once. */
void obey_say(const lh_json *line);

#endif
