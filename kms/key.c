/* SPDX-License-Identifier: Apache-2.0 */
#include "key.h"

#include <string.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

enum { ID_TEXT_MAX = 8192 };

void kms_keys_init(struct kms_keys *k, const struct kms_scope *scope,
                   const struct kms_settle *settle)
{
    *k = (struct kms_keys){.scope = *scope, .settle = *settle};
    lh_vec_init(&k->all, sizeof(struct kms_key *));
}

static struct kms_key *key_at(const struct kms_keys *k, size_t i)
{
    return *(struct kms_key **)lh_vec_at(&k->all, i);
}

void kms_keys_done(struct kms_keys *k)
{
    for (size_t i = 0; i < k->all.n; i++)
        lh_free(key_at(k, i));
    lh_vec_done(&k->all);
    *k = (struct kms_keys){0};
}

/* With its length: no two lists of fields are written alike. */
static void put_field(struct lh_buf *b, const char *text)
{
    text = text ? text : "";
    lh_buf_printf(b, "%zu:%s\n", strlen(text), text);
}

int kms_key_id(const struct kms_scope *scope, unsigned generation, const struct kms_version *v,
               char out[KMS_KEY_ID_SIZE], struct lh_err *err)
{
    uint8_t hash[LH_HASH_LEN];
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, ID_TEXT_MAX);
    lh_buf_put_z(&b, "leasehold-kms key id 1\n");
    put_field(&b, scope->cluster);
    put_field(&b, scope->backend);
    put_field(&b, scope->namespace_);
    put_field(&b, scope->mount);
    put_field(&b, scope->key);
    put_field(&b, v->mark);
    lh_buf_printf(&b, "%u %lld %lld\n", generation, (long long)v->version, (long long)v->created_s);
    rc = lh_buf_check(&b, err);
    if (rc == 0)
        rc = lh_sha256(b.p, b.n, hash, err);
    if (rc == 0)
        lh_hex(hash, sizeof(hash), out);
    return rc;
}

const struct kms_key *kms_keys_find(const struct kms_keys *k, struct lh_str id)
{
    for (size_t i = 0; i < k->all.n; i++) {
        if (lh_str_eqz(id, key_at(k, i)->id))
            return key_at(k, i);
    }
    return NULL;
}

static struct kms_key *find_version(const struct kms_keys *k, unsigned generation,
                                    const struct kms_version *v)
{
    for (size_t i = 0; i < k->all.n; i++) {
        struct kms_key *e = key_at(k, i);

        if (e->generation == generation && e->v.version == v->version &&
            e->v.created_s == v->created_s && strcmp(e->v.mark, v->mark) == 0)
            return e;
    }
    return NULL;
}

/* key_id_hash of apiserver_envelope_encryption_*: nodes and API servers are compared by it. */
static int hash_id(struct kms_key *e, struct lh_err *err)
{
    static const char how[] = "sha256:";
    uint8_t hash[LH_HASH_LEN];
    int rc = lh_sha256(e->id, strlen(e->id), hash, err);

    if (rc < 0)
        return rc;
    memcpy(e->hash, how, sizeof(how));
    lh_hex(hash, sizeof(hash), e->hash + strlen(how));
    return 0;
}

static int add(struct kms_keys *k, unsigned generation, const struct kms_version *v,
               struct lh_err *err)
{
    lh_auto_free struct kms_key *e = lh_calloc(1, sizeof(*e));
    int rc;

    if (!e)
        return lh_err_nomem(err);
    e->v = *v;
    e->generation = generation;
    rc = kms_key_id(&k->scope, generation, v, e->id, err);
    if (rc == 0)
        rc = hash_id(e, err);
    if (rc < 0)
        return rc;
    if (!lh_vec_push(&k->all, &e))
        return lh_err_nomem(err);
    (void)LH_TAKE_PTR(e);
    return 0;
}

/* All of them before any is judged: memory may run out in between. */
static int add_new(struct kms_keys *k, const struct kms_facts *f, struct lh_err *err)
{
    for (size_t i = 0; i < f->n; i++) {
        for (unsigned g = 0; g <= k->scope.generation; g++) {
            int rc = find_version(k, g, &f->versions[i]) ? 0 : add(k, g, &f->versions[i], err);

            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static struct kms_key *of_facts(const struct kms_keys *k, const struct kms_facts *f, size_t i)
{
    return find_version(k, k->scope.generation, &f->versions[i]);
}

static void mark_there(struct kms_keys *k, const struct kms_facts *f)
{
    for (size_t i = 0; i < k->all.n; i++)
        key_at(k, i)->there = false;
    for (size_t i = 0; i < f->n; i++) {
        for (unsigned g = 0; g <= k->scope.generation; g++)
            find_version(k, g, &f->versions[i])->there = true;
    }
}

/* The newest that may encrypt and is older than latest; NULL if there is none. */
static struct kms_key *before_latest(const struct kms_keys *k, const struct kms_facts *f)
{
    int64_t latest = f->versions[f->latest].version, newest = 0;
    size_t best = f->n;

    for (size_t i = 0; i < f->n; i++) {
        int64_t v = f->versions[i].version;

        if (v < latest && v > newest && v >= f->min_encryption) {
            newest = v;
            best = i;
        }
    }
    return best < f->n ? of_facts(k, f, best) : NULL;
}

/* A version made a moment ago is not known to the other plugins yet: who starts now waits, too. */
static struct kms_key *first_current(const struct kms_keys *k, const struct kms_facts *f,
                                     struct kms_key *latest, int64_t wall_s)
{
    struct kms_key *older = before_latest(k, f);
    int64_t age_s = wall_s - latest->v.created_s;

    return older && age_s >= 0 && age_s * 1000 < k->settle.delay_ms ? older : latest;
}

static bool has_settled(struct kms_keys *k, struct kms_key *latest, lh_ms now)
{
    if (k->candidate != latest) {
        k->candidate = latest;
        k->seen = 0;
        k->seen_from = now;
    }
    k->seen++;
    return k->seen >= k->settle.observations && now - k->seen_from >= k->settle.delay_ms;
}

static void promote(struct kms_keys *k, struct kms_key *next)
{
    if (k->current)
        k->current->retired = true;
    k->current = next;
    k->candidate = NULL;
}

static void judge(struct kms_keys *k, const struct kms_facts *f, struct kms_key *latest, lh_ms now)
{
    bool forced = k->current->v.version < f->min_encryption;

    k->lost = (struct lh_err){0};
    if (latest == k->current) {
        k->candidate = NULL;
        return;
    }
    if (latest->retired) {
        k->candidate = NULL;
        lh_err_set(&k->lost, LH_E_CONFLICT,
                   "the key went back to version %lld, which was left before (a backup restored?): "
                   "rotate it, so that what is written from now on can be told apart",
                   (long long)latest->v.version);
        return;
    }
    if (has_settled(k, latest, now) || forced) {
        promote(k, latest);
        return;
    }
    if (!k->current->there)
        lh_err_set(&k->lost, LH_E_CONFLICT,
                   "version %lld, under which data are stored, is not there any more: the key was "
                   "made again, or its min_decryption_version was raised",
                   (long long)k->current->v.version);
}

int kms_keys_observe(struct kms_keys *k, const struct kms_facts *f, lh_ms now, int64_t wall_s,
                     bool *changed, struct lh_err *err)
{
    const struct kms_key *before = k->current;
    struct kms_key *latest;
    int rc = add_new(k, f, err);

    if (rc < 0)
        return rc;
    latest = of_facts(k, f, f->latest);
    mark_there(k, f);
    if (!k->current)
        k->current = first_current(k, f, latest, wall_s);
    judge(k, f, latest, now);
    *changed = k->current != before;
    return 0;
}
