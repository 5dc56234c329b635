/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_ETCD_SOURCE_H
#define LEASEHOLD_ETCD_SOURCE_H

/*
 * What etcd holds, as it holds it: from a running member over gRPC (etcdserverpb, API 3), or from
 * the file of a snapshot or of a stopped member (bbolt) without etcd. One interface over both.
 * Read only: nothing here can write to etcd. Values are whatever is stored, so a value is never
 * logged and never enters an error; keys may.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/err.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/str.h"

struct lh_etcd;
struct lh_etcd_scan;
struct lh_etcd_about_op;

/* How much of a value is handed over unless told otherwise: enough for what stands before it. */
enum { LH_ETCD_VALUE_HEAD = 1536, LH_ETCD_MAX_URLS = 16 };

/* One key at the revision of the scan. Everything is borrowed until the callback returns. */
struct lh_etcd_entry {
    struct lh_str key;
    struct lh_str value; /* its head, at most max_value bytes; empty with keys_only */
    size_t value_size;   /* of the whole; 0 with keys_only */
    /* The value was not read: it is larger than one page may be (live 16 MiB, a file 64 MiB).
     * value is empty then and value_size is 0. */
    bool unread;
    int64_t create_revision, mod_revision, version, lease;
};

struct lh_etcd_member {
    char *name;
    char *peer_urls, *client_urls; /* comma-separated, as the member announces them */
};

/* What the source is. Owned by the source, valid until it is freed. */
struct lh_etcd_about {
    bool live;
    /* Live: of the connection. TLS without client_cert: anybody who can connect is let in, or the
     * server asks for none. */
    bool tls, client_cert;
    char address[300]; /* live: the URL that answered; file: its path */
    /* Live: the server's; file: the cluster version in it ("3.6.0"), may be empty. */
    char version[32];
    int64_t revision;                       /* newest */
    uint64_t cluster_id, member_id;         /* 0 where the source does not tell */
    uint64_t leader, raft_index, raft_term; /* leader: 0 none; file: 0 */
    uint64_t applied_index;                 /* file: consistent index */
    uint64_t file_bytes, used_bytes;        /* of the database; used: 0 if not told */
    bool learner, no_space, corrupt;        /* live: alarms */
    struct lh_etcd_member *members;         /* may be empty: not told */
    size_t n_members;
    /* File only. A snapshot ends with a SHA-256 of itself, a bare database has none. */
    bool hash_present, hash_matches;
    uint32_t page_size;
    int64_t modified_ms; /* wall, of the file */
};

struct lh_etcd_live_options {
    const char *urls; /* "https://127.0.0.1:2379[,https://...]", tried in order; http is plain */
    /* PEM files. ca_file: required with https. cert_file and key_file: both or none. */
    const char *ca_file, *cert_file, *key_file;
    unsigned timeout_ms;  /* of one call, connecting included; 0: 10 s */
    unsigned patience_ms; /* how long a scan waits for a leader or a connection; 0: 30 s */
};

/* Reads the files and resolves host names: this may block, as the resolver does, so call it before
 * the loop runs; addresses never block. Nothing is connected yet. LH_E_INVALID, LH_E_NOTFOUND,
 * LH_E_UNAVAILABLE (a name does not resolve). */
int lh_etcd_open(struct lh_loop *loop, const struct lh_etcd_live_options *opts,
                 struct lh_etcd **out, struct lh_err *err);
/* A file that `etcdctl snapshot save` made, or member/snap/db of a member that does not run. It is
 * only looked at. LH_E_INVALID: not a database of etcd (foreign, or both meta pages are broken). */
int lh_etcd_open_file(struct lh_loop *loop, const char *path, struct lh_etcd **out,
                      struct lh_err *err);
/* Cancels what runs. NULL is a no-op. Not from inside its own callbacks but a done. */
void lh_etcd_free(struct lh_etcd *e);

/* Once, from the loop; about is NULL if and only if err is set. op is gone afterwards. A file with
 * a wrong hash is no error: about says so. */
typedef void (*lh_etcd_about_fn)(void *arg, const struct lh_etcd_about *about,
                                 const struct lh_err *err);
int lh_etcd_about_start(struct lh_etcd *e, lh_etcd_about_fn done, void *arg,
                        struct lh_etcd_about_op **out, struct lh_err *err);
void lh_etcd_about_cancel(struct lh_etcd_about_op *op); /* NULL is a no-op; done is not called */

/* What a scan came to. */
struct lh_etcd_scanned {
    uint64_t entries;     /* handed over since the last restart */
    int64_t revision;     /* all of them are of this one */
    uint64_t value_bytes; /* whole sizes, of what was handed over */
    unsigned restarts, retries;
    /* File only: what could not be read, counted; any of them means that keys may be missing. */
    uint64_t bad_pages;    /* never trusted: out of the file, wrong id, flags, counts or a cycle */
    uint64_t bad_entries;  /* keys or records that do not parse, or stand out of order */
    char first_fault[160]; /* "" or what and where, for people */
};

struct lh_etcd_scan_options {
    const char *prefix; /* "/registry/"; "" is everything */
    bool keys_only;
    size_t max_value; /* of what is handed over; 0: LH_ETCD_VALUE_HEAD; SIZE_MAX: all */
    /* One call an entry: live in ascending order of keys, a file newest revision first; a key comes
     * once. May cancel the scan, nothing else. */
    void (*entry)(void *arg, const struct lh_etcd_entry *e);
    /* The revision was compacted away meanwhile: forget all entries, they come again. Required for
     * live sources, never called for files. */
    void (*restarted)(void *arg);
};

/* Once, from the loop; result is NULL if and only if err is set. op is gone afterwards.
 * LH_E_DENIED (certificate or user refused), LH_E_UNAVAILABLE (no leader or member within
 * patience_ms), LH_E_GONE (compacted again and again), LH_E_INVALID (the answer is no etcd's). */
typedef void (*lh_etcd_scan_fn)(void *arg, const struct lh_etcd_scanned *result,
                                const struct lh_err *err);
int lh_etcd_scan_start(struct lh_etcd *e, const struct lh_etcd_scan_options *opts /* copied */,
                       lh_etcd_scan_fn done, void *arg, struct lh_etcd_scan **out,
                       struct lh_err *err);
/* NULL is a no-op; done is not called; safe inside entry and another scan's done. */
void lh_etcd_scan_cancel(struct lh_etcd_scan *scan);

#endif
