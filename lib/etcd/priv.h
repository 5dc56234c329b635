/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_ETCD_PRIV_H
#define LH_ETCD_PRIV_H

/*
 * source.c is what both kinds of source share: lists of operations, callbacks, their ends. live.c
 * and file.c are the two kinds; each is a table of operations over the same structs.
 */
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/etcd/source.h"
#include "leasehold/grpc/client.h"
#include "bolt.h"
#include "seen.h"

struct lh_etcd_ops {
    /* What follows comes from the loop; a failure here does not call back. */
    int (*about_begin)(struct lh_etcd_about_op *op, struct lh_err *err);
    void (*about_end)(struct lh_etcd_about_op *op); /* releases what began; also after a failure */
    int (*scan_begin)(struct lh_etcd_scan *scan, struct lh_err *err);
    void (*scan_end)(struct lh_etcd_scan *scan);
    void (*free)(struct lh_etcd *e);
};

/* One address of a running member. */
struct lh_etcd_target {
    char *url;     /* as given */
    char *address; /* "127.0.0.1:2379" */
    char *host;    /* what its certificate is checked against */
    bool tls;
    struct lh_grpc_client *client;
};

struct lh_etcd_live {
    struct lh_etcd_target targets[LH_ETCD_MAX_URLS];
    size_t n_targets, current; /* current: the one that answered last */
    bool has_cert;
    unsigned timeout_ms, patience_ms;
};

struct lh_etcd_file {
    char *path;
    struct lh_bolt bolt;
};

struct lh_etcd {
    const struct lh_etcd_ops *ops;
    struct lh_loop *loop;
    struct lh_etcd_about about;
    struct lh_etcd_about_op *abouts;
    struct lh_etcd_scan *scans;
    union {
        struct lh_etcd_live live;
        struct lh_etcd_file file;
    };
};

struct lh_etcd_about_op {
    struct lh_etcd_about_op *prev, *next;
    struct lh_etcd *e;
    lh_etcd_about_fn done;
    void *arg;
    struct lh_timer *timer;
    /* Live: one call at a time. */
    struct lh_grpc_client_call *call;
    size_t tried; /* targets */
    /* File: how much of it went into the digest. */
    struct lh_sha256 *sha;
    uint64_t hashed;
};

struct lh_etcd_scan {
    struct lh_etcd_scan *prev, *next;
    struct lh_etcd *e;
    struct lh_etcd_scan_options opts;
    char *prefix; /* opts', owned */
    size_t prefix_bytes;
    lh_etcd_scan_fn done;
    void *arg;
    struct lh_etcd_scanned result;
    struct lh_timer *timer;
    bool calling, doomed; /* inside entry or restarted; cancelled there */
    /* Live. */
    struct lh_grpc_client_call *call;
    char *next_key, *range_end; /* of the next page, owned */
    size_t next_key_bytes, range_end_bytes;
    unsigned limit;   /* keys a page */
    size_t tried;     /* targets in a row that failed */
    lh_ms give_up_at; /* while retrying; 0: all is well */
    lh_ms delay;      /* of the next retry */
    bool begun;       /* a page came, ever */
    bool key_alone;   /* the next page is one key whose value is too large to be read */
    /* File. */
    struct lh_bolt_cursor *cursor;
    struct lh_seen *seen;
    int64_t last_main, last_sub;
    struct lh_bolt_faults faults;
};

extern const struct lh_etcd_ops lh_etcd_live_ops, lh_etcd_file_ops;

/* Ends an operation by its callback: err NULL is success. It is gone then. */
void lh_etcd_about_finish(struct lh_etcd_about_op *op, const struct lh_err *err);
void lh_etcd_scan_finish(struct lh_etcd_scan *scan, const struct lh_err *err);
/* Hands an entry over, value cut to what was asked for. false: the scan was cancelled and is gone.
 */
bool lh_etcd_scan_give(struct lh_etcd_scan *scan, const struct lh_etcd_entry *e);
/* The same for restarted; counts start anew. */
bool lh_etcd_scan_restart(struct lh_etcd_scan *scan);

int lh_etcd_add_member(struct lh_etcd_about *a, struct lh_str name, struct lh_str peers,
                       struct lh_str clients, struct lh_err *err);
void lh_etcd_clear_members(struct lh_etcd_about *a);

/* "https://host:port,..." to targets, names resolved. */
int lh_etcd_targets_parse(struct lh_etcd_live *l, const char *urls, struct lh_err *err);
void lh_etcd_targets_done(struct lh_etcd_live *l);

#endif
