/* SPDX-License-Identifier: Apache-2.0 */
#include "needs.h"

#include <stdlib.h>
#include <string.h>

#include "leasehold/api/allow.h"
#include "leasehold/api/fields.h"
#include "leasehold/core/mem.h"

void needs_init(struct needs *n)
{
    lh_vec_init(&n->logins, sizeof(struct need_login));
}

static void login_done(struct need_login *l)
{
    for (size_t i = 0; i < l->paths.n; i++)
        lh_free(((struct need_path *)lh_vec_at(&l->paths, i))->path);
    lh_vec_done(&l->paths);
    lh_store_unref(l->store);
    lh_free(l->namespace_);
    lh_free(l->mount);
    lh_free(l->role);
    lh_strv_free(l->subjects);
    lh_strv_free(l->users);
}

void needs_done(struct needs *n)
{
    for (size_t i = 0; i < n->logins.n; i++)
        login_done(lh_vec_at(&n->logins, i));
    lh_vec_done(&n->logins);
}

static int expand(const struct lh_subject *who, const char *text, char **out, struct lh_err *err)
{
    return text ? lh_subject_expand(who, text, out, err) : 0;
}

static int order(const char *a, const char *b)
{
    if (!a || !b)
        return (a != NULL) - (b != NULL);
    return strcmp(a, b);
}

static int by_login(const void *pa, const void *pb)
{
    const struct need_login *a = pa, *b = pb;
    int c = order(lh_store_kind(a->store), lh_store_kind(b->store));

    if (!c)
        c = order(a->store->namespace_, b->store->namespace_);
    if (!c)
        c = order(a->store->name, b->store->name);
    if (!c)
        c = order(a->namespace_, b->namespace_);
    if (!c)
        c = order(a->mount, b->mount);
    return c ? c : order(a->role, b->role);
}

static int by_path(const void *pa, const void *pb)
{
    const struct need_path *a = pa, *b = pb;
    int c = strcmp(a->path, b->path);

    return c ? c : strcmp(a->capability, b->capability);
}

/* The login of this store as who, new or known. */
static int login_for(struct needs *n, struct lh_store *s, const char *role,
                     const struct lh_subject *who, struct need_login **out, struct lh_err *err)
{
    struct need_login l = {.store = s}, *kept;
    int rc;

    lh_vec_init(&l.paths, sizeof(struct need_path));
    lh_store_ref(s);
    rc = expand(who, s->vault.namespace_, &l.namespace_, err);
    if (rc == 0)
        rc = expand(who, s->vault.auth.mount, &l.mount, err);
    if (rc == 0)
        rc = expand(who, role ? role : s->vault.auth.role, &l.role, err);
    if (rc < 0) {
        login_done(&l);
        return lh_err_wrap(err, rc, "%s \"%s\"", lh_store_kind(s), s->name);
    }
    for (size_t i = 0; i < n->logins.n; i++) {
        kept = lh_vec_at(&n->logins, i);
        if (by_login(kept, &l) == 0) {
            login_done(&l);
            *out = kept;
            return 0;
        }
    }
    kept = lh_vec_push(&n->logins, &l);
    if (!kept) {
        login_done(&l);
        return lh_err_nomem(err);
    }
    *out = kept;
    return 0;
}

static int add_path(struct need_login *l, const char *path, const char *capability,
                    struct lh_err *err)
{
    struct need_path p = {.capability = capability};

    for (size_t i = 0; i < l->paths.n; i++) {
        const struct need_path *have = lh_vec_at(&l->paths, i);

        if (strcmp(have->path, path) == 0 && strcmp(have->capability, capability) == 0)
            return 0;
    }
    p.path = lh_strdup(path);
    if (!p.path || !lh_vec_push(&l->paths, &p)) {
        lh_free(p.path);
        return lh_err_nomem(err);
    }
    return 0;
}

/* Length of "mount/" where path lies in a KV version 2 mount; 0 elsewhere. */
static size_t kv2_mount(const struct lh_store *s, const char *path)
{
    for (size_t i = 0; s->vault.kv2_mounts[i]; i++) {
        size_t n = strlen(s->vault.kv2_mounts[i]);

        if (strncmp(path, s->vault.kv2_mounts[i], n) == 0 && path[n] == '/')
            return n + 1;
    }
    return 0;
}

/* metadata: a change is seen without reading the value; without that right the value is read. */
static int add_kv2(struct need_login *l, const char *path, size_t mount, struct lh_err *err)
{
    lh_auto_free char *plain = NULL, *data = NULL, *metadata = NULL;
    int rc;

    rc = lh_path_normalise(path, l->store->vault.kv2_mounts, &plain, err);
    if (rc < 0)
        return rc;
    data = lh_asprintf("%.*sdata/%s", (int)mount, plain, plain + mount);
    metadata = lh_asprintf("%.*smetadata/%s", (int)mount, plain, plain + mount);
    if (!data || !metadata)
        return lh_err_nomem(err);
    rc = add_path(l, data, "read", err);
    return rc < 0 ? rc : add_path(l, metadata, "read", err);
}

static int add_item(struct need_login *l, const struct lh_item *it, const struct lh_subject *who,
                    struct lh_err *err)
{
    lh_auto_free char *path = NULL;
    size_t mount;
    int rc;

    rc = lh_subject_expand(who, it->path, &path, err);
    if (rc < 0)
        return rc;
    if (it->params)
        return add_path(l, path, "update", err);
    mount = kv2_mount(l->store, path);
    return mount ? add_kv2(l, path, mount, err) : add_path(l, path, "read", err);
}

static int add_word(char ***v, const char *word, struct lh_err *err)
{
    return lh_strv_has(*v, word) ? 0 : lh_strv_push(v, word, err);
}

int needs_add(struct needs *n, struct lh_store *s, const struct lh_projection *p,
              const struct lh_subject *who, const char *user, struct lh_err *err)
{
    lh_auto_free char *subject = lh_asprintf("%s/%s", who->namespace_, who->service_account);
    struct need_login *l = NULL;
    int rc;

    if (!subject)
        return lh_err_nomem(err);
    rc = login_for(n, s, p->role, who, &l, err);
    if (rc < 0 || !l)
        return rc;
    rc = add_word(&l->subjects, subject, err);
    if (rc == 0)
        rc = add_word(&l->users, user, err);
    for (size_t i = 0; i < p->n_items && rc == 0; i++)
        rc = add_item(l, &p->items[i], who, err);
    return rc;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(struct needs *n)
{
    for (size_t i = 0; i < n->logins.n; i++) {
        struct need_login *l = lh_vec_at(&n->logins, i);

        qsort(l->subjects, lh_strv_len(l->subjects), sizeof(char *), by_text);
        qsort(l->users, lh_strv_len(l->users), sizeof(char *), by_text);
        qsort(lh_vec_at(&l->paths, 0), l->paths.n, sizeof(struct need_path), by_path);
    }
    if (n->logins.n)
        qsort(lh_vec_at(&n->logins, 0), n->logins.n, sizeof(struct need_login), by_login);
}

/* Names before (0) or behind (1) the slash of each subject, without repeats. */
static void put_subjects(struct lh_buf *b, char *const *subjects, int part)
{
    bool any = false;

    for (size_t i = 0; subjects[i]; i++) {
        struct lh_str ns, sa, one;
        bool seen = false;

        lh_str_cut(lh_str(subjects[i]), '/', &ns, &sa);
        one = part ? sa : ns;
        for (size_t k = 0; k < i && !seen; k++) {
            struct lh_str other_ns, other_sa;

            lh_str_cut(lh_str(subjects[k]), '/', &other_ns, &other_sa);
            seen = lh_str_eq(one, part ? other_sa : other_ns);
        }
        if (seen)
            continue;
        if (any)
            lh_buf_put_c(b, ',');
        lh_buf_put_str(b, one);
        any = true;
    }
}

static void put_sub(struct lh_buf *b, const char *subject)
{
    struct lh_str ns, sa;

    lh_str_cut(lh_str(subject), '/', &ns, &sa);
    lh_buf_printf(b, "system:serviceaccount:%.*s:%.*s", (int)ns.n, ns.p, (int)sa.n, sa.p);
}

static void put_bound_subjects(struct lh_buf *b, char *const *subjects)
{
    if (!subjects[1]) {
        lh_buf_put_z(b, "bound_subject=");
        put_sub(b, subjects[0]);
        return;
    }
    lh_buf_put_z(b, "bound_claims='{\"sub\":[");
    for (size_t i = 0; subjects[i]; i++) {
        lh_buf_put_z(b, i ? ",\"" : "\"");
        put_sub(b, subjects[i]);
        lh_buf_put_c(b, '"');
    }
    lh_buf_put_z(b, "]}'");
}

/* A word of a shell's command line, in quotes where it needs them. */
static void put_word(struct lh_buf *b, const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@+";

    if (*text && strspn(text, plain) == strlen(text)) {
        lh_buf_put_z(b, text);
        return;
    }
    lh_buf_put_c(b, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            lh_buf_put_z(b, "'\\''");
        else
            lh_buf_put_c(b, *text);
    }
    lh_buf_put_c(b, '\'');
}

/* " prefix" and one word of the parts. */
static void put_parts(struct lh_buf *b, const char *a, const char *c, const char *d)
{
    lh_auto_free char *word = lh_asprintf("%s%s%s", a, c, d);

    lh_buf_put_c(b, ' ');
    put_word(b, word ? word : "");
}

static void put_role(struct lh_buf *b, const struct need_login *l, const char *command,
                     const char *policy)
{
    const struct lh_store_auth *a = &l->store->vault.auth;

    lh_auto_free char *where = lh_asprintf("auth/%s/", l->mount ? l->mount : "");

    switch (a->method) {
    case LH_AUTH_JWT:
    case LH_AUTH_KUBERNETES:
        lh_buf_printf(b, "#   %s write", command);
        put_parts(b, where ? where : "", "role/", l->role);
        if (a->method == LH_AUTH_JWT) {
            lh_buf_put_z(b, " role_type=jwt user_claim=sub \\\n#    ");
            put_parts(b, "bound_audiences=", a->audience, "");
            lh_buf_put_c(b, ' ');
            put_bound_subjects(b, l->subjects);
        } else {
            lh_buf_put_z(b, " \\\n#    ");
            put_parts(b, "audience=", a->audience, "");
            lh_buf_put_z(b, " bound_service_account_names=");
            put_subjects(b, l->subjects, 1);
            lh_buf_put_z(b, " bound_service_account_namespaces=");
            put_subjects(b, l->subjects, 0);
        }
        lh_buf_put_z(b, " \\\n#    ");
        put_parts(b, "token_policies=", policy, "");
        lh_buf_put_c(b, '\n');
        return;
    case LH_AUTH_APPROLE:
        lh_buf_printf(b,
                      "#   and add it to token_policies of the AppRole at %s whose role_id the "
                      "store names\n",
                      where ? where : "");
        return;
    case LH_AUTH_CERT:
        lh_buf_printf(b, "#   and add it to token_policies of %scerts/%s\n", where ? where : "",
                      l->role ? l->role : "NAME");
        return;
    case LH_AUTH_TOKEN:
        lh_buf_printf(b, "#   and create the store's token with it: %s token create", command);
        put_parts(b, "-policy=", policy, "");
        lh_buf_put_c(b, '\n');
        return;
    }
}

static void put_login(struct lh_buf *b, const struct need_login *l, const char *program)
{
    const char *policy = l->role ? l->role : l->store->name;
    lh_auto_buf struct lh_buf command;

    lh_buf_init(&command, 4096);
    lh_buf_put_z(&command, program);
    if (l->namespace_)
        put_parts(&command, "-namespace=", l->namespace_, "");
    lh_buf_printf(b, "# %s \"%s\"", lh_store_kind(l->store), l->store->name);
    if (l->store->namespace_)
        lh_buf_printf(b, " of namespace \"%s\"", l->store->namespace_);
    lh_buf_put_z(b, ", needed by\n");
    for (size_t i = 0; l->users[i]; i++)
        lh_buf_printf(b, "#   %s\n", l->users[i]);
    lh_buf_printf(b, "# Keep this as %s.hcl, then:\n#   %s policy write", policy,
                  lh_buf_peek(&command).p);
    put_parts(b, policy, "", "");
    put_parts(b, policy, ".hcl", "");
    lh_buf_put_c(b, '\n');
    put_role(b, l, lh_buf_peek(&command).p, policy);
    for (size_t i = 0; i < l->paths.n; i++) {
        const struct need_path *p = lh_vec_at(&l->paths, i);

        lh_buf_put_z(b, "path ");
        lh_json_write_str(lh_str(p->path), b);
        lh_buf_printf(b, " {\n  capabilities = [\"%s\"]\n}\n", p->capability);
    }
}

void needs_write(struct needs *n, const char *program, struct lh_buf *b)
{
    sort(n);
    for (size_t i = 0; i < n->logins.n; i++) {
        if (i)
            lh_buf_put_c(b, '\n');
        put_login(b, lh_vec_at(&n->logins, i), program);
    }
}
