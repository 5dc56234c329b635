/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_ETCD_LEFTOVERS_H
#define LEASEHOLD_ETCD_LEFTOVERS_H

/*
 * What etcd's disk still holds of Secrets, whatever its API shows: older revisions, pages of the
 * database that nothing points to, the write-ahead log. A database is walked from its root (bbolt);
 * what the walk does not reach, and every other file, is searched byte for byte for keys as etcd
 * writes them (mvccpb.KeyValue, etcdserverpb.PutRequest) and for the heads of values whose key is
 * gone. Reading only, in windows of fixed size; time is linear in the bytes, memory in the keys of
 * one database (16 bytes each). No value is kept, and none can be told from what comes out.
 *
 * Not found: the rest of a value of several pages whose first page was written over.
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/atrest/value.h"
#include "leasehold/core/err.h"
#include "leasehold/core/vec.h"

enum lh_leftover_place {
    LH_LEFTOVER_CURRENT,   /* the newest revision of a key: what the API shows */
    LH_LEFTOVER_OLDER,     /* an older one, until it is compacted away */
    LH_LEFTOVER_FREE,      /* a page that is not in use, until the member is defragmented */
    LH_LEFTOVER_LOG,       /* the write-ahead log, until etcd removes that file */
    LH_LEFTOVER_ELSEWHERE, /* any other file of the folder */
    LH_LEFTOVER_PLACES
};
/* "current", "older", "free", "log", "elsewhere" */
const char *lh_leftover_place_name(enum lh_leftover_place p);

/* Values of Secrets of one kind in one place; past LH_LEFTOVER_MAX_GROUPS without name and key id.
 */
struct lh_leftover {
    enum lh_leftover_place place;
    enum lh_atrest_scheme scheme;
    char *name;   /* of the key or provider; owned, never NULL, printable ASCII */
    char *key_id; /* KMS v2, "" where it was not found; the same */
    uint64_t count;
};
enum { LH_LEFTOVER_MAX_GROUPS = 128 };

struct lh_leftovers {
    struct lh_vec groups; /* struct lh_leftover, in the order found */
    /* Of Secrets in plain text; a value counts once for each copy of it. */
    uint64_t plain[LH_LEFTOVER_PLACES];
    uint64_t files, bytes;
    bool has_database, has_log;
    /* Any of these means that some may be missing. */
    uint64_t damaged; /* pages and entries of databases, files that are not what they are named */
    uint64_t unread;  /* files that could not be read */
    bool changed;     /* a database was written to while it was read, again and again */
    char first_fault[200]; /* "" or what and where, for people */
};

/* Of one database: a snapshot, or member/snap/db. prefix: as kube-apiserver's --etcd-prefix,
 * "/registry". It blocks until it is through: for a command, not for a server's loop. Outputs are
 * untouched on failure: LH_E_OS (it cannot be opened), LH_E_INVALID (no regular file), LH_E_NOMEM.
 * What is damaged is no failure. */
int lh_leftovers_file(const char *path, const char *prefix, struct lh_leftovers *out,
                      struct lh_err *err);
/* Of etcd's data folder, or its log's: every file below. The member may run: what changes meanwhile
 * is read again. LH_E_INVALID: neither a database nor a log is in it; LH_E_TOOBIG: more than 10,000
 * files. */
int lh_leftovers_dir(const char *path, const char *prefix, struct lh_leftovers *out,
                     struct lh_err *err);
void lh_leftovers_done(struct lh_leftovers *l);

#endif
