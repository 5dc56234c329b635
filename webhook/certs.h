/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_WEBHOOK_CERTS_H
#define LEASEHOLD_WEBHOOK_CERTS_H

/*
 * Where the serving certificate comes from: an own CA kept in a Secret (compare-and-swap, no
 * election, every replica serves the same leaf), or two files that somebody else keeps.
 */
#include <stdbool.h>

#include "leasehold/core/loop.h"
#include "leasehold/core/secret.h"
#include "leasehold/kube/client.h"

/* A new pair to serve; both borrowed until return. False: it cannot be served, and may be tried
 * again. */
typedef bool (*certs_pair_fn)(void *arg, struct lh_str cert_pem, const struct lh_secret *key_pem);

struct cert_files;
int cert_files_new(struct lh_loop *loop, const char *cert, const char *key, certs_pair_fn pair,
                   void *arg, struct cert_files **out,
                   struct lh_err *err); /* calls pair once before it returns */
void cert_files_free(struct cert_files *f);

struct own_ca_options {
    struct lh_loop *loop;
    struct lh_kube *kube;
    const char *secret;        /* NAMESPACE/NAME */
    const char *service;       /* NAME.NAMESPACE */
    const char *configuration; /* name of both webhook configurations */
    certs_pair_fn pair;
    void *arg;
};
struct own_ca;
int own_ca_new(const struct own_ca_options *o, struct own_ca **out, struct lh_err *err);
void own_ca_free(struct own_ca *c);
/* Every webhook configuration holds the bundle that signed what is served. */
bool own_ca_is_trusted(const struct own_ca *c);

#endif
