/* SPDX-License-Identifier: Apache-2.0 */
/* Facts out of etcd, files and the API server. */
#include "audit_gather.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "leasehold/atrest/config.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/kube/client.h"

enum { MAX_METRICS = 64 * 1024 * 1024, PAGE = 500 };

struct reading {
    struct audit *audit;
    bool is_pods, is_damaged; /* Pods are looked into, nothing else */
    struct lh_str prefix;
    struct lh_err err;
    struct lh_etcd_scan *scan;
    bool done, stopped;
};

static enum audit_protection protection_of(const struct lh_atrest_value *v)
{
    if (v->form != LH_ATREST_WHOLE || v->scheme == LH_ATREST_FOREIGN ||
        v->scheme == LH_ATREST_UNKNOWN)
        return AUDIT_MALFORMED;
    switch (lh_atrest_scheme_protection(v->scheme)) {
    case LH_ATREST_KMS:
        return AUDIT_KMS;
    case LH_ATREST_LOCAL:
        return AUDIT_LOCAL;
    default:
        return AUDIT_NONE;
    }
}

void audit_value_of(const struct lh_etcd_entry *e, struct audit_value *out)
{
    struct lh_atrest_value v;

    lh_atrest_value_read_all(e->value, &v);
    *out = (struct audit_value){.protection = e->unread ? AUDIT_MALFORMED : protection_of(&v),
                                .provider = lh_atrest_scheme_name(v.scheme),
                                .name = v.name,
                                .key = v.key_id,
                                .source = v.dek_source,
                                .revision = e->mod_revision};
    if (out->protection == AUDIT_NONE)
        out->plain = e->value;
}

static void take(struct reading *r, const struct audit_path *p, const struct lh_etcd_entry *e)
{
    struct audit_value one;

    audit_value_of(e, &one);
    r->audit->bytes += e->value_size;
    if (audit_add(r->audit, p, &one, &r->err) < 0)
        r->stopped = true;
}

static void take_stored_pod(struct reading *r, const struct lh_etcd_entry *e)
{
    lh_auto_json lh_json *pod = NULL;
    struct audit_value v;

    audit_value_of(e, &v);
    if (v.protection != AUDIT_NONE || audit_stored_pod(e->value, &pod, NULL) < 0)
        r->audit->pods.unread++;
    else if (audit_take_pod(r->audit, pod, &r->err) < 0)
        r->stopped = true;
}

static void on_entry(void *arg, const struct lh_etcd_entry *e)
{
    struct reading *r = arg;
    struct audit_path p;

    if (r->stopped)
        return;
    if (!audit_path_parse(e->key, r->prefix, &p))
        r->audit->skipped_keys += !r->is_pods;
    else if (r->is_pods)
        take_stored_pod(r, e);
    else
        take(r, &p, e);
}

/* etcd compacted the revision away: entries come again from the first. */
static void on_restarted(void *arg)
{
    struct reading *r = arg;

    if ((r->is_pods ? audit_forget_pods(r->audit, &r->err)
                    : audit_forget_bytes(r->audit, &r->err)) < 0)
        r->stopped = true;
}

static void on_scanned(void *arg, const struct lh_etcd_scanned *result, const struct lh_err *err)
{
    struct reading *r = arg;

    r->done = true;
    r->scan = NULL;
    if (err) {
        r->err = *err;
        return;
    }
    r->is_damaged = result->bad_pages || result->bad_entries;
    if (r->is_pods)
        return; /* what is damaged is told of the whole */
    r->audit->revision = result->revision;
    if (r->is_damaged)
        audit_trouble(r->audit, NULL,
                      "%" PRIu64 " pages and %" PRIu64 " entries of the database are damaged: "
                      "objects may be missing",
                      result->bad_pages, result->bad_entries);
    r->audit->is_damaged |= r->is_damaged;
}

static int scan(struct reading *r, struct lh_loop *loop, struct lh_etcd *etcd, const char *prefix,
                struct lh_err *err)
{
    char below[1024];
    struct lh_etcd_scan_options o = {
        .prefix = below, .max_value = SIZE_MAX, .entry = on_entry, .restarted = on_restarted};
    int rc;

    r->prefix = lh_str(prefix);
    while (r->prefix.n && r->prefix.p[r->prefix.n - 1] == '/')
        r->prefix.n--;
    snprintf(below, sizeof(below), "%.*s/%s", (int)r->prefix.n, r->prefix.p,
             r->is_pods ? "pods/" : "");
    rc = lh_etcd_scan_start(etcd, &o, on_scanned, r, &r->scan, err);
    if (rc < 0)
        return rc;
    while (!r->done && !r->stopped)
        lh_loop_turn(loop, -1);
    lh_etcd_scan_cancel(r->scan);
    if (!r->err.code)
        return 0;
    if (err)
        *err = r->err;
    return -r->err.code;
}

struct asking {
    struct audit *audit;
    struct lh_err err;
    bool done;
};

static void on_about(void *arg, const struct lh_etcd_about *about, const struct lh_err *err)
{
    struct asking *q = arg;
    struct audit *a = q->audit;

    q->done = true;
    if (err) {
        q->err = *err;
        return;
    }
    a->is_live = about->live;
    a->members = about->n_members;
    a->etcd_plain_http = about->live && !about->tls;
    a->etcd_without_cert = about->live && about->tls && !about->client_cert;
    lh_free(a->source);
    a->source = lh_strdup(about->address);
    if (!about->live && about->hash_present && !about->hash_matches) {
        a->is_damaged = true;
        audit_trouble(a, NULL, "the snapshot's own hash does not fit it");
    }
    if (about->corrupt)
        audit_trouble(a, NULL, "etcd has raised its alarm CORRUPT");
}

/* Before Secrets, of which they name those that are looked for. */
static int stored_pods(struct audit *a, struct lh_loop *loop, struct lh_etcd *etcd,
                       const char *prefix, struct lh_err *err)
{
    struct reading r = {.audit = a, .is_pods = true};
    int rc = scan(&r, loop, etcd, prefix, err);

    if (rc < 0)
        return rc;
    a->pods.from_bytes = true;
    a->pods.read = a->pods.unread == 0 && !r.is_damaged;
    if (a->pods.unread == 0)
        return 0;
    return audit_trouble(a, err,
                         "%" PRIu64 " Pods are encrypted in etcd, or do not parse: --kubeconfig "
                         "asks the API server for them",
                         a->pods.unread);
}

int audit_gather_etcd(struct audit *a, struct lh_loop *loop, struct lh_etcd *etcd,
                      const char *prefix, struct lh_err *err)
{
    struct lh_etcd_about_op *op = NULL;
    struct asking q = {.audit = a};
    struct reading r = {.audit = a};
    int rc = lh_etcd_about_start(etcd, on_about, &q, &op, err);

    while (rc == 0 && !q.done)
        lh_loop_turn(loop, -1);
    if (rc == 0 && q.err.code) {
        if (err)
            *err = q.err;
        rc = -q.err.code;
    }
    if (rc == 0 && !a->pods.read)
        rc = stored_pods(a, loop, etcd, prefix, err);
    if (rc == 0)
        rc = scan(&r, loop, etcd, prefix, err);
    if (rc == 0)
        a->has_bytes = true;
    return rc;
}

static void look(struct audit_file *f)
{
    lh_auto_free char *dir = lh_strdup(f->path);
    char *slash = dir ? strrchr(dir, '/') : NULL;
    struct stat st;

    if (lh_fs->fstatat(AT_FDCWD, f->path, &st, 0) < 0)
        return;
    f->found = true;
    f->is_socket = S_ISSOCK(st.st_mode);
    f->mode = st.st_mode;
    f->uid = st.st_uid;
    f->changed_ms = (int64_t)st.st_mtim.tv_sec * 1000;
    if (slash)
        slash[slash == dir ? 1 : 0] = 0;
    if (lh_fs->fstatat(AT_FDCWD, slash ? dir : ".", &st, 0) == 0)
        f->dir_mode = st.st_mode;
}

static int take_socket(struct audit *a, const char *endpoint, struct lh_err *err)
{
    struct audit_file f = {0};
    const char *path = strncmp(endpoint, "unix://", 7) == 0 ? endpoint + 7 : endpoint;

    f.is_abstract = strncmp(path, "/@", 2) == 0 || path[0] == '@';
    f.path = lh_strdup(path);
    if (!f.path)
        return lh_err_nomem(err);
    if (!f.is_abstract)
        look(&f);
    if (lh_vec_push(&a->sockets, &f))
        return 0;
    lh_free(f.path);
    return lh_err_nomem(err);
}

static int take_provider(struct audit *a, struct audit_rule *r, const struct lh_atrest_provider *p,
                         struct lh_err *err)
{
    const struct lh_atrest_key *first = p->keys.n ? lh_vec_at(&p->keys, 0) : NULL;
    const char *name = p->name ? p->name : first && first->name ? first->name : "";
    struct audit_provider one = {.type = lh_atrest_scheme_name(p->scheme),
                                 .timeout_ms = p->timeout_ms ? p->timeout_ms : 3000};

    one.name = lh_strdup(name);
    one.endpoint = lh_strdup(p->endpoint ? p->endpoint : "");
    if (!one.name || !one.endpoint || !lh_vec_push(&r->providers, &one)) {
        lh_free(one.name);
        lh_free(one.endpoint);
        return lh_err_nomem(err);
    }
    return p->endpoint && *p->endpoint ? take_socket(a, p->endpoint, err) : 0;
}

static int take_rule(struct audit *a, const struct lh_atrest_rule *from, struct lh_err *err)
{
    struct audit_rule *r, empty;
    int rc = 0;

    lh_vec_init(&empty.resources, sizeof(char *));
    lh_vec_init(&empty.providers, sizeof(struct audit_provider));
    r = lh_vec_push(&a->rules, &empty);
    if (!r)
        return lh_err_nomem(err);
    for (size_t i = 0; i < from->resources.n; i++) {
        char *copy = lh_strdup(*(char **)lh_vec_at(&from->resources, i));

        if (!copy || !lh_vec_push(&r->resources, &copy)) {
            lh_free(copy);
            return lh_err_nomem(err);
        }
    }
    for (size_t i = 0; i < from->providers.n && rc == 0; i++)
        rc = take_provider(a, r, lh_vec_at(&from->providers, i), err);
    return rc;
}

/* An API server's name for its configuration: a digest of the content, or of a name made of that.
 */
static int hash_config(struct audit *a, struct lh_str text, struct lh_err *err)
{
    uint8_t digest[LH_HASH_LEN];
    char named[2 * LH_HASH_LEN + 32];
    int rc = lh_sha256(text.p, text.n, digest, err);

    if (rc < 0)
        return rc;
    lh_hex(digest, sizeof(digest), a->config_hashes[0]);
    snprintf(named, sizeof(named), "k8s:enc:unstable:1:%s", a->config_hashes[0]);
    rc = lh_sha256(named, strlen(named), digest, err);
    if (rc == 0)
        lh_hex(digest, sizeof(digest), a->config_hashes[1]);
    return rc;
}

int audit_gather_config(struct audit *a, const char *path, struct lh_err *err)
{
    struct lh_atrest_config c = {0};
    struct lh_vec findings;
    lh_auto_free char *text = NULL;
    size_t n = 0;
    int rc = lh_fs_read_at(AT_FDCWD, path, LH_ATREST_CONFIG_MAX_BYTES, &text, &n, err);

    if (rc < 0)
        return rc;
    lh_vec_init(&findings, sizeof(struct lh_atrest_finding));
    rc = lh_atrest_config_read((struct lh_str){text, n}, path, &c, &findings, err);
    for (size_t i = 0; i < c.rules.n && rc == 0; i++)
        rc = take_rule(a, lh_vec_at(&c.rules, i), err);
    if (rc == 0 && lh_atrest_findings_refused(&findings))
        audit_trouble(a, NULL, "an API server would refuse %s: `leasehold encryption check`", path);
    lh_atrest_findings_done(&findings);
    lh_atrest_config_done(&c);
    if (rc < 0)
        return rc;
    rc = hash_config(a, (struct lh_str){text, n}, err);
    if (rc < 0)
        return rc;
    a->config.path = lh_strdup(path);
    if (!a->config.path)
        return lh_err_nomem(err);
    look(&a->config);
    a->has_config = true;
    return 0;
}

int audit_gather_metrics(struct audit *a, const char *path, struct lh_err *err)
{
    struct audit_server s = {.name = lh_strdup(path)};
    lh_auto_free char *text = NULL;
    size_t n = 0;
    int rc =
        s.name ? lh_fs_read_at(AT_FDCWD, path, MAX_METRICS, &text, &n, err) : lh_err_nomem(err);

    lh_vec_init(&s.series, sizeof(struct audit_series));
    if (rc == 0)
        rc = audit_metrics_read((struct lh_str){text, n}, &s, err);
    if (rc == 0 && s.cut)
        audit_trouble(a, NULL, "%s has more series than are kept", path);
    if (!lh_vec_push(&a->servers, &s)) {
        lh_free(s.name); /* with series of a file that is too large for this machine anyway */
        return lh_err_nomem(err);
    }
    return rc;
}

struct paging {
    struct audit *audit;
    audit_take_fn take;
    struct lh_kube_op *op;
    struct lh_err err;
    char next[2048];
    bool done;
};

/* A token of the API server is base64url and a little more; what a query must not have is coded. */
static void put_token(char *room, size_t size, const char *token)
{
    size_t n = 0;

    for (; *token && n + 4 < size; token++) {
        bool plain = (*token >= '0' && *token <= '9') || (*token >= 'A' && *token <= 'Z') ||
                     (*token >= 'a' && *token <= 'z') || *token == '-' || *token == '_';

        n += (size_t)snprintf(room + n, size - n, plain ? "%c" : "%%%02X", (unsigned char)*token);
    }
    room[n] = 0;
}

static void on_page(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct paging *p = arg;
    const lh_json *items = lh_json_get(obj, "items");
    const char *next = lh_json_get_z(lh_json_get(obj, "metadata"), "continue");

    p->done = true;
    p->op = NULL;
    if (err) {
        p->err = *err;
        return;
    }
    for (size_t i = 0; i < lh_json_len(items); i++) {
        if (p->take(p->audit, lh_json_at(items, i), &p->err) < 0)
            return;
    }
    put_token(p->next, sizeof(p->next), next ? next : "");
}

int audit_gather_list(struct audit *a, struct lh_kube *kube, const struct lh_kube_resource *kind,
                      audit_take_fn one, unsigned timeout_ms, struct lh_err *err)
{
    struct paging p = {.audit = a, .take = one};
    char query[2200];
    int rc = 0;

    do {
        snprintf(query, sizeof(query), "limit=%d%s%s", PAGE, *p.next ? "&continue=" : "", p.next);
        p.done = false;
        p.next[0] = 0;
        rc = lh_kube_start(kube, "GET", kind, query, NULL, NULL, timeout_ms, on_page, &p, &p.op,
                           err);
        while (rc == 0 && !p.done)
            lh_loop_turn(lh_kube_loop(kube), -1);
        if (rc == 0 && p.err.code) {
            if (err)
                *err = p.err;
            rc = -p.err.code;
        }
    } while (rc == 0 && *p.next);
    return rc;
}

int audit_gather_pods(struct audit *a, struct lh_kube *kube, unsigned timeout_ms,
                      struct lh_err *err)
{
    static const struct lh_kube_resource pods = {.group = "", .version = "v1", .resource = "pods"};
    int rc = audit_gather_list(a, kube, &pods, audit_take_pod, timeout_ms, err);

    if (rc == 0)
        a->pods.read = true;
    return rc;
}
