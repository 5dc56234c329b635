/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TLS_FRONT_H
#define LH_TLS_FRONT_H

/* TLS in front of a UNIX socket, in a process of its own: our server half speaks no TLS, and
 * OpenSSL's other side must not be ours. One connection at a time. */
#include <stdbool.h>
#include <sys/types.h>

#include "leasehold/crypto/x509.h"

struct tls_front {
    pid_t pid;
    int port;
};

struct tls_front_options {
    const char *path; /* where the plain bytes go */
    const struct lh_cert_pair *pair;
    const char *client_ca_pem; /* NULL: no certificate is asked for */
    bool no_h2;                /* says nothing to ALPN */
    long max_version;          /* 0: newest */
};

int tls_front_start(const struct tls_front_options *o, struct tls_front *out); /* 0, or -1 */
void tls_front_stop(struct tls_front *f);

/* A listening socket on loopback; *port is set. */
int tls_front_listen(int *port);

#endif
