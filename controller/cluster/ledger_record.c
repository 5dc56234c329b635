/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_record.h"

#include "leasehold/core/mem.h"

enum { RECORD_MAX = 8 * 1024, TEXT_MAX = 512 };

void ledger_record_done(struct ledger_record *r)
{
    lh_free(r->namespace_);
    lh_free(r->projection);
    lh_free(r->uid);
    lh_free(r->store);
    lh_free(r->service_account);
    lh_free(r->role);
    lh_free(r->accessor);
    *r = (struct ledger_record){0};
}

static const struct text_field {
    const char *key;
    size_t at;
    bool optional;
} texts[] = {
    {"accessor", offsetof(struct ledger_record, accessor), false},
    {"namespace", offsetof(struct ledger_record, namespace_), false},
    {"projection", offsetof(struct ledger_record, projection), false},
    {"role", offsetof(struct ledger_record, role), true},
    {"serviceAccount", offsetof(struct ledger_record, service_account), false},
    {"store", offsetof(struct ledger_record, store), false},
    {"uid", offsetof(struct ledger_record, uid), false},
};

static char **text_of(const struct ledger_record *r, const struct text_field *f)
{
    return (char **)((uintptr_t)r + f->at);
}

int ledger_record_write(const struct ledger_record *r, struct lh_buf *b, struct lh_err *err)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    bool failed = !o || lh_json_set(o, "version", lh_json_new_int(LEDGER_VERSION)) < 0 ||
                  lh_json_set(o, "term", lh_json_new_int(r->term)) < 0 ||
                  lh_json_set(o, "end", lh_json_new_int(r->end_wall_ms)) < 0 ||
                  lh_json_set(o, "tries", lh_json_new_int(r->tries)) < 0 ||
                  lh_json_set(o, "refused", lh_json_new_bool(r->refused)) < 0 ||
                  lh_json_set(o, "clusterStore", lh_json_new_bool(r->store_cluster_scoped)) < 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(texts) && !failed; i++) {
        const char *z = *text_of(r, &texts[i]);

        failed = z && lh_json_set(o, texts[i].key, lh_json_new_z(z)) < 0;
    }
    if (failed)
        return lh_err_nomem(err);
    lh_json_write(o, LH_JSON_SORTED, b);
    return lh_buf_check(b, err);
}

static int damaged(const char *key, struct lh_err *err)
{
    return lh_err_set(err, LH_E_INVALID, "a record of the ledger is damaged: %s", key);
}

static int take_texts(const lh_json *o, struct ledger_record *r, struct lh_err *err)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(texts); i++) {
        const char *z = lh_json_get_z(o, texts[i].key);

        if (!z && texts[i].optional && !lh_json_get(o, texts[i].key))
            continue;
        if (!z || !*z || strlen(z) > TEXT_MAX)
            return damaged(texts[i].key, err);
        *text_of(r, &texts[i]) = lh_strdup(z);
        if (!*text_of(r, &texts[i]))
            return lh_err_nomem(err);
    }
    return 0;
}

static int take_numbers(const lh_json *o, struct ledger_record *r, struct lh_err *err)
{
    int64_t tries = lh_json_get_int(o, "tries", -1);

    if (!lh_json_int(lh_json_get(o, "term"), &r->term) || r->term < 0)
        return damaged("term", err);
    if (!lh_json_int(lh_json_get(o, "end"), &r->end_wall_ms) || r->end_wall_ms < 0)
        return damaged("end", err);
    if (tries < 0 || tries > INT32_MAX)
        return damaged("tries", err);
    r->tries = (unsigned)tries;
    if (!lh_json_bool(lh_json_get(o, "refused"), &r->refused))
        return damaged("refused", err);
    if (!lh_json_bool(lh_json_get(o, "clusterStore"), &r->store_cluster_scoped))
        return damaged("clusterStore", err);
    return 0;
}

int ledger_record_parse(struct lh_str text, struct ledger_record *out, struct lh_err *err)
{
    const struct lh_json_limits limits = {.max_bytes = RECORD_MAX, .max_depth = 2, .max_keys = 32};
    lh_auto_json lh_json *o = NULL;
    struct ledger_record r = {0};
    int rc = lh_json_parse(text, &limits, &o, err);

    if (rc < 0)
        return lh_err_wrap(err, rc, "a record of the ledger");
    /* A newer one may name what this program would not undo. */
    if (lh_json_get_int(o, "version", 0) != LEDGER_VERSION)
        return damaged("version", err);
    rc = take_texts(o, &r, err);
    if (rc == 0)
        rc = take_numbers(o, &r, err);
    if (rc < 0) {
        ledger_record_done(&r);
        return rc;
    }
    *out = r;
    return 0;
}

enum ledger_act ledger_decide(const struct ledger_record *r, const struct ledger_facts *f)
{
    if (f->revoked)
        return LEDGER_DROP;
    /* Ours and in use: renewed, so that its end moves. */
    if (f->live && r->term == f->term && !f->overlapped)
        return LEDGER_KEEP;
    /* Its end is what was known when it was written last: the manager is asked at least once. */
    if (f->wall_ms >= r->end_wall_ms && (r->refused || r->tries > 0))
        return LEDGER_DROP;
    if (r->refused || r->tries >= LEDGER_TRIES_MAX)
        return LEDGER_GIVE_UP;
    /* Of an earlier leader: its credentials are in the copies until new ones are. */
    return f->overlapped ? LEDGER_REVOKE : LEDGER_KEEP;
}

bool ledger_releases(enum ledger_act act)
{
    return act == LEDGER_DROP || act == LEDGER_GIVE_UP;
}
