/* SPDX-License-Identifier: Apache-2.0 */
/* A running member: how it is asked, and what it is: Maintenance.Status and Cluster.MemberList
 * (etcd api/etcdserverpb/rpc.proto). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "leasehold/core/fs.h"
#include "live.h"
#include "pb.h"

enum {
    DEFAULT_TIMEOUT_MS = 10000,
    DEFAULT_PATIENCE_MS = 30000,
    MAX_PEM = 1 << 20,
    MAX_PAGE = 16 << 20,
    TEXT_BYTES = 120, /* of an answer's text in an error */
};

/* Printable ASCII, cut. */
static const char *clean(const char *text, char out[TEXT_BYTES + 1])
{
    size_t n = 0;

    for (; text[n] && n < TEXT_BYTES; n++)
        out[n] = text[n] >= ' ' && text[n] < 0x7f ? text[n] : '?';
    out[n] = '\0';
    return out;
}

static bool is_denied(enum lh_grpc_status status, const char *text)
{
    return status == LH_GRPC_PERMISSION_DENIED || status == LH_GRPC_UNAUTHENTICATED ||
           strstr(text, "etcdserver: user name") || strstr(text, "etcdserver: authentication");
}

int lh_etcd_live_err(const struct lh_etcd *e, enum lh_grpc_status status, const char *text,
                     struct lh_err *err)
{
    const char *url = e->live.targets[e->live.current].url;
    char said[TEXT_BYTES + 1];

    clean(text, said);
    if (is_denied(status, text))
        return lh_err_set(err, LH_E_DENIED,
                          "%s: %s. etcd asks for authentication: give a client certificate whose "
                          "common name is a user that may read the keys; passwords are not "
                          "supported",
                          url, said);
    switch (status) {
    case LH_GRPC_UNAVAILABLE:
    case LH_GRPC_DEADLINE_EXCEEDED:
    case LH_GRPC_CANCELLED:
    case LH_GRPC_RESOURCE_EXHAUSTED:
    case LH_GRPC_OUT_OF_RANGE:
        return lh_err_set(err, LH_E_UNAVAILABLE, "%s: %s", url, said);
    default:
        return lh_err_set(err, LH_E_INVALID, "%s: %s (%s)", url, said, lh_grpc_status_name(status));
    }
}

bool lh_etcd_is_transient(enum lh_grpc_status status, const char *text)
{
    if (is_denied(status, text))
        return false;
    /* OUT_OF_RANGE: a member that has not yet what another one had. */
    return status == LH_GRPC_UNAVAILABLE || status == LH_GRPC_DEADLINE_EXCEEDED ||
           status == LH_GRPC_CANCELLED || status == LH_GRPC_OUT_OF_RANGE ||
           status == LH_GRPC_RESOURCE_EXHAUSTED;
}

void lh_etcd_next_target(struct lh_etcd_live *l)
{
    l->current = (l->current + 1) % l->n_targets;
}

int lh_etcd_live_call(struct lh_etcd *e, const char *method, struct lh_str message,
                      lh_grpc_answer_fn done, void *arg, struct lh_grpc_client_call **out,
                      struct lh_err *err)
{
    struct lh_etcd_live *l = &e->live;

    return lh_grpc_client_start(l->targets[l->current].client, method, message, l->timeout_ms, done,
                                arg, out, err);
}

void lh_etcd_take_header(struct lh_etcd_about *a, struct lh_str message)
{
    struct lh_pb r = lh_pb_of(message);
    struct lh_pb_field f;

    while (lh_pb_next(&r, &f)) {
        if (f.number == 1)
            a->cluster_id = f.n;
        else if (f.number == 2)
            a->member_id = f.n;
        else if (f.number == 3)
            a->revision = (int64_t)f.n;
    }
}

static void take_error(struct lh_etcd_about *a, struct lh_str text)
{
    a->no_space |= memmem(text.p, text.n, "NOSPACE", 7) != NULL;
    a->corrupt |= memmem(text.p, text.n, "CORRUPT", 7) != NULL;
}

static void take_version(struct lh_etcd_about *a, struct lh_str text)
{
    if (lh_str_is_dns_subdomain(text) && text.n < sizeof(a->version))
        snprintf(a->version, sizeof(a->version), "%.*s", (int)text.n, text.p);
}

static void take_number(struct lh_etcd_about *a, const struct lh_pb_field *f)
{
    switch (f->number) {
    case 3:
        a->file_bytes = f->n;
        break;
    case 4:
        a->leader = f->n;
        break;
    case 5:
        a->raft_index = f->n;
        break;
    case 6:
        a->raft_term = f->n;
        break;
    case 7:
        a->applied_index = f->n;
        break;
    case 9:
        a->used_bytes = f->n;
        break;
    case 10:
        a->learner = f->n != 0;
        break;
    default:
        break;
    }
}

static bool take_status(struct lh_etcd *e, struct lh_str message)
{
    const struct lh_etcd_target *t = &e->live.targets[e->live.current];
    struct lh_etcd_about *a = &e->about;
    struct lh_pb r = lh_pb_of(message);
    struct lh_pb_field f;

    lh_etcd_clear_members(a);
    *a = (struct lh_etcd_about){
        .live = true, .tls = t->tls, .client_cert = t->tls && e->live.has_cert};
    snprintf(a->address, sizeof(a->address), "%s", t->url);
    while (lh_pb_next(&r, &f)) {
        if (f.type == LH_PB_BYTES && f.number == 1)
            lh_etcd_take_header(a, f.bytes);
        else if (f.type == LH_PB_BYTES && f.number == 2)
            take_version(a, f.bytes);
        else if (f.type == LH_PB_BYTES && f.number == 8)
            take_error(a, f.bytes);
        else if (f.type == LH_PB_VARINT)
            take_number(a, &f);
    }
    return !r.bad && a->cluster_id != 0;
}

static int take_member(struct lh_etcd_about *a, struct lh_str message, struct lh_err *err)
{
    lh_auto_buf struct lh_buf peers, clients;
    struct lh_str name = LH_STR("");
    struct lh_pb r = lh_pb_of(message);
    struct lh_pb_field f;

    lh_buf_init(&peers, MAX_PAGE);
    lh_buf_init(&clients, MAX_PAGE);
    while (lh_pb_next(&r, &f)) {
        struct lh_buf *to = f.number == 3 ? &peers : &clients;

        if (f.type == LH_PB_BYTES && f.number == 2)
            name = f.bytes;
        if (f.type != LH_PB_BYTES || (f.number != 3 && f.number != 4))
            continue;
        if (to->n > 0)
            lh_buf_put_c(to, ',');
        lh_buf_put_str(to, f.bytes);
    }
    return lh_etcd_add_member(a, name, lh_buf_peek(&peers), lh_buf_peek(&clients), err);
}

static void on_members(void *arg, enum lh_grpc_status status, struct lh_str message,
                       const char *text)
{
    struct lh_etcd_about_op *op = arg;
    struct lh_pb r = lh_pb_of(message);
    struct lh_err err = {0};
    struct lh_pb_field f;
    int rc = 0;

    (void)text;
    op->call = NULL;
    /* Not everybody may list them; what the status told stands. */
    while (status == LH_GRPC_OK && rc == 0 && lh_pb_next(&r, &f)) {
        if (f.type == LH_PB_BYTES && f.number == 2)
            rc = take_member(&op->e->about, f.bytes, &err);
    }
    lh_etcd_about_finish(op, rc < 0 ? &err : NULL);
}

static int ask_status(struct lh_etcd_about_op *op, struct lh_err *err);

static void on_status(void *arg, enum lh_grpc_status status, struct lh_str message,
                      const char *text)
{
    struct lh_etcd_about_op *op = arg;
    struct lh_etcd *e = op->e;
    struct lh_err err = {0};
    int rc = 0;

    op->call = NULL;
    if (status == LH_GRPC_OK && take_status(e, message)) {
        rc = lh_etcd_live_call(e, "/etcdserverpb.Cluster/MemberList", LH_STR(""), on_members, op,
                               &op->call, &err);
    } else if (status == LH_GRPC_OK) {
        rc = lh_err_set(&err, LH_E_INVALID, "%s: the answer is not etcd's",
                        e->live.targets[e->live.current].url);
    } else {
        rc = lh_etcd_live_err(e, status, text, &err);
        if (lh_etcd_is_transient(status, text) && ++op->tried < e->live.n_targets) {
            lh_etcd_next_target(&e->live);
            rc = ask_status(op, &err);
        }
    }
    if (rc < 0)
        lh_etcd_about_finish(op, &err);
}

static int ask_status(struct lh_etcd_about_op *op, struct lh_err *err)
{
    return lh_etcd_live_call(op->e, "/etcdserverpb.Maintenance/Status", LH_STR(""), on_status, op,
                             &op->call, err);
}

static void about_end(struct lh_etcd_about_op *op)
{
    lh_grpc_client_cancel(op->call);
}

struct identity {
    char *ca, *cert;
    size_t ca_bytes, cert_bytes;
    struct lh_secret *key;
};

static void identity_done(struct identity *id)
{
    lh_free(id->ca);
    lh_free(id->cert);
    lh_secret_free(id->key);
}

static int read_identity(const struct lh_etcd_live_options *o, bool tls, struct identity *id,
                         struct lh_err *err)
{
    int rc = 0;

    if (tls && !o->ca_file)
        return lh_err_set(err, LH_E_INVALID, "https needs the CA of etcd's servers");
    if (!o->cert_file != !o->key_file)
        return lh_err_set(err, LH_E_INVALID, "a client certificate and its key go together");
    if (tls)
        rc = lh_fs_read_at(AT_FDCWD, o->ca_file, MAX_PEM, &id->ca, &id->ca_bytes, err);
    if (rc == 0 && tls && o->cert_file)
        rc = lh_fs_read_at(AT_FDCWD, o->cert_file, MAX_PEM, &id->cert, &id->cert_bytes, err);
    if (rc == 0 && tls && o->key_file)
        rc = lh_secret_read_at(AT_FDCWD, o->key_file, MAX_PEM, &id->key, err);
    return rc;
}

static int make_client(struct lh_etcd *e, struct lh_etcd_target *t, const struct identity *id,
                       struct lh_err *err)
{
    const struct lh_grpc_tls_options tls = {
        .ca_pem = {id->ca, id->ca_bytes},
        .cert_pem = {id->cert, id->cert_bytes},
        .key_pem = id->key,
        .host = t->host,
    };
    const struct lh_grpc_client_options opts = {
        .loop = e->loop,
        .address = t->address,
        .tls = t->tls ? &tls : NULL,
        .max_message = MAX_PAGE,
    };

    return lh_grpc_client_new(&opts, &t->client, err);
}

static int fill_live(struct lh_etcd *e, const struct lh_etcd_live_options *o, struct lh_err *err)
{
    struct lh_etcd_live *l = &e->live;
    struct identity id = {0};
    bool tls = false;
    int rc = lh_etcd_targets_parse(l, o->urls, err);

    for (size_t i = 0; i < l->n_targets; i++)
        tls |= l->targets[i].tls;
    if (rc == 0)
        rc = read_identity(o, tls, &id, err);
    for (size_t i = 0; rc == 0 && i < l->n_targets; i++)
        rc = make_client(e, &l->targets[i], &id, err);
    l->has_cert = id.cert != NULL;
    l->timeout_ms = o->timeout_ms ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
    l->patience_ms = o->patience_ms ? o->patience_ms : DEFAULT_PATIENCE_MS;
    identity_done(&id);
    return rc;
}

static void live_free(struct lh_etcd *e)
{
    lh_etcd_targets_done(&e->live);
}

const struct lh_etcd_ops lh_etcd_live_ops = {
    .about_begin = ask_status,
    .about_end = about_end,
    .scan_begin = lh_etcd_live_scan_begin,
    .scan_end = lh_etcd_live_scan_end,
    .free = live_free,
};

int lh_etcd_open(struct lh_loop *loop, const struct lh_etcd_live_options *opts,
                 struct lh_etcd **out, struct lh_err *err)
{
    struct lh_etcd *e = lh_calloc(1, sizeof(*e));
    int rc;

    if (!e)
        return lh_err_nomem(err);
    e->ops = &lh_etcd_live_ops;
    e->loop = loop;
    rc = fill_live(e, opts, err);
    if (rc < 0) {
        lh_etcd_free(e);
        return rc;
    }
    *out = e;
    return 0;
}
