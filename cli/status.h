/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_STATUS_H
#define LEASEHOLD_CLI_STATUS_H

/*
 * How stores, projections and the Pods that use them are, as the API server says it, and on demand
 * as agents and node drivers say themselves: by their /status, through the API server's Pod proxy.
 * One row an object. Never a value: nothing that is asked holds one.
 */
#include "leasehold/codec/json.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/map.h"
#include "leasehold/core/vec.h"
#include "leasehold/kube/client.h"

enum status_kind {
    STATUS_CLUSTER_STORE,
    STATUS_STORE,
    STATUS_PROJECTION,
    STATUS_POD,
    STATUS_DRIVER, /* the Pod of a node driver; only for what it says of others */
    STATUS_KINDS
};

/* Strings owned, never NULL in a row that status_row_of() made. */
struct status_row {
    enum status_kind kind;
    char *namespace_, *name;
    char *ready;    /* "True", "False", "Unknown", or "Gone" */
    char *reason;   /* a word of api/reasons.h, or "" */
    char *message;  /* "" */
    char *store;    /* "" */
    char *delivery; /* of a Pod: "sidecar", "init", "csi", or two with a + */
    char *node;
    int64_t created_ms, since_ms; /* wall time; 0: not known */
    unsigned port;                /* of /status; 0: none */
    lh_json *live;                /* {agent, volumes}; NULL: not asked or no answer */
    char *expires;                /* time of the first end among published credentials, or "" */
};
/* obj: a whole object. *out NULL: it has nothing to do with us, or is a Pod that ended. */
int status_row_of(enum status_kind kind, const lh_json *obj, struct status_row **out,
                  struct lh_err *err);
void status_row_free(struct status_row *r); /* NULL is a no-op */
/* True where a person has to do something. */
bool status_is_bad(const struct status_row *r);
/* Takes what an agent ("agent") or a driver ("volumes": one of them) said of this Pod into its row:
 * readiness, cause and first end. said is borrowed. */
int status_take_live(struct status_row *r, const char *who, const lh_json *said,
                     struct lh_err *err);

struct status_view;

struct status_options {
    struct lh_loop *loop;
    struct lh_kube *kube;
    const char *namespace_;         /* NULL: all */
    const char *operator_namespace; /* NULL: node drivers are not looked for */
    unsigned timeout_ms;            /* for the first whole state, and for what is asked live */
    /* After the first whole state a row changed; gone: it is the last of this object. NULL: nothing
     * is followed. */
    void (*changed)(void *arg, const struct status_row *r);
    void *arg;
};

/* The whole state, once read; kinds that could not be read are in status_trouble(). */
int status_open(const struct status_options *o, struct status_view **out, struct lh_err *err);
void status_close(struct status_view *v); /* NULL is a no-op */
/* Asks every agent and driver that was found; nothing is followed from then on. */
int status_ask(struct status_view *v, struct lh_err *err);
/* Sorted by kind, namespace, name: n borrowed rows, without drivers. */
int status_rows(struct status_view *v, struct lh_vec *out, struct lh_err *err);
/* Lines about what could not be read or asked; empty: all is known. */
struct lh_str status_trouble(const struct status_view *v);

const char *status_kind_name(enum status_kind kind);

/* status_print.c */
enum status_format { STATUS_TABLE, STATUS_WIDE, STATUS_JSON };
/* rows: struct status_row *. */
void status_print(const struct lh_vec *rows, struct lh_str trouble, enum status_format format,
                  bool live, int64_t wall_ms, struct lh_buf *b);
/* One row by itself, as --watch shows it: a line of the table, or of compact JSON. */
void status_print_row(const struct status_row *r, enum status_format format, int64_t wall_ms,
                      struct lh_buf *b);

#endif
