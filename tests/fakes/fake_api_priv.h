/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_TESTS_FAKE_API_PRIV_H
#define LEASEHOLD_TESTS_FAKE_API_PRIV_H

/* The fake API server's inside: what it holds (fake_api.c), how it answers (fake_api_requests.c),
 * how objects are written (fake_api_writes.c), and who owns which field (fake_api_apply.c). */
#include "fake_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/vec.h"
#include "leasehold/crypto/x509.h"
#include "leasehold/serve/server.h"

enum { MAX_TEXT = 1 << 24, PATH_PARTS = 8 };

struct object {
    char *collection, *namespace_, *name;
    lh_json *value;
    lh_json *owners; /* field manager to {pointer: true} */
};

/* What happened, for watches that come later. */
struct past {
    int64_t rv;
    const char *type;
    struct object o;
};

/* An answer that waits. */
struct held {
    struct lh_call *call;
    int code;
    char *body;
};

/* What is answered as it is. */
struct page {
    char *path, *body;
    int status;
};

struct watch {
    struct lh_call *call;
    char *collection, *namespace_, *name, *label;
    bool metadata, lost;
};

struct fake_api {
    struct lh_loop *loop;
    struct lh_server *server;
    struct lh_listener *listener;
    struct lh_cert_pair ca, leaf;
    char *token, *denied, *last_accept;
    struct lh_buf last_body;
    struct lh_vec objects, past, watches, requests; /* struct object, past, watch, char * */
    struct lh_vec stalled;                          /* struct lh_call * */
    struct lh_vec held;                             /* struct held */
    struct lh_vec pages;                            /* struct page */
    int64_t rv, oldest, uids;
    unsigned interfere;
    bool no_watch_list, no_initial_end, pages_expire, lags;
    bool has_fault;
    struct fake_api_fault fault;
};

/* A request taken apart. */
struct ask {
    struct fake_api *f;
    const struct lh_request *req;
    struct lh_call *call;
    char collection[200];
    char parts[PATH_PARTS][128]; /* namespace, name, subresource; "" if absent */
    bool metadata;
    bool lost; /* carried out, but its answer gets lost */
    bool held; /* or waits */
};
#define ASK_NAMESPACE(a) ((a)->parts[0])
#define ASK_NAME(a)      ((a)->parts[1])
#define ASK_SUB(a)       ((a)->parts[2])

/* A handler of everything; arg is the fake. */
void fake_api_handle(void *arg, const struct lh_request *req, struct lh_call *call);

/* Memory is not what is tested here. */
static inline void *need(void *p)
{
    if (!p)
        abort();
    return p;
}

static inline char *dup_or_null(const char *z)
{
    return z && *z ? need(lh_strdup(z)) : NULL;
}

static inline bool fits(const char *wanted, const char *has)
{
    return !wanted || (has && strcmp(wanted, has) == 0);
}

void fake_put_value(struct lh_buf *b, const lh_json *v, bool metadata);
void fake_put_status(struct lh_buf *b, int code, const char *reason, const char *message,
                     const char *cause);
struct object *fake_find(const struct fake_api *f, const char *collection, const char *ns,
                         const char *name);
void fake_set_version(struct fake_api *f, lh_json *meta);
/* Takes v; tells watches. */
struct object *fake_api_add(struct fake_api *f, const char *collection, lh_json *v);
void fake_api_replace(struct fake_api *f, struct object *o, lh_json *v);
void fake_api_remove(struct fake_api *f, struct object *o);
bool fake_api_query(const struct lh_request *req, const char *key, char *out, size_t size);
void fake_api_answer_status(struct ask *a, int code, const char *reason, const char *message,
                            const char *cause);
void fake_api_answer(struct ask *a, int code, struct lh_buf *b);
/* v, consumed, in place of what o holds, after all checks; manager owns what is changed by it, or
 * NULL: owners are set already. */
void fake_api_store(struct fake_api *f, struct ask *a, struct object *o, lh_json *v,
                    const char *manager);
/* The same for one that is not there yet. */
void fake_api_create(struct fake_api *f, struct ask *a, lh_json *v, const char *manager,
                     lh_json *owners);
/* Fields in which v differs from old (NULL: all of them) are manager's from now on. */
void fake_api_own_changes(lh_json *owners, const char *manager, const lh_json *old,
                          const lh_json *v);
/* Server-side apply; o NULL: there is none yet. */
void fake_api_apply(struct fake_api *f, struct ask *a, struct object *o, const lh_json *config);
bool fake_api_conflicts(struct ask *a, const struct object *o, const lh_json *said);
bool fake_api_has_status(const struct ask *a);
/* Everything that changes something. */
void fake_api_write(struct fake_api *f, struct ask *a);
void fake_watch_done(struct watch *w);
bool fake_watch_sees(const struct watch *w, const struct object *o);
void fake_send_event(struct watch *w, const char *type, const lh_json *value);
void fake_send_bookmark(struct fake_api *f, struct watch *w, bool initial_end);

#endif
