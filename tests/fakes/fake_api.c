/* SPDX-License-Identifier: Apache-2.0 */
/* A fake, because the real API server runs on wall time and cannot be told to lose a stream. */
#include "fake_api_priv.h"
#include "leasehold/kube/client.h"

static const struct lh_route routes[] = {{NULL, "/*", fake_api_handle, 1 << 20}, {0}};

static void object_done(struct object *o)
{
    lh_free(o->collection);
    lh_free(o->namespace_);
    lh_free(o->name);
    lh_json_unref(o->value);
    lh_json_unref(o->owners);
}

void fake_watch_done(struct watch *w)
{
    lh_free(w->collection);
    lh_free(w->namespace_);
    lh_free(w->name);
    lh_free(w->label);
}

int fake_api_new(struct lh_loop *loop, struct fake_api **out, struct lh_err *err)
{
    static const char *const names[] = {"api.test", NULL};
    struct fake_api *f = need(lh_calloc(1, sizeof(*f)));
    struct lh_listener_options opts = {.address = "127.0.0.1:0", .routes = routes, .arg = f};
    int rc;

    f->loop = loop;
    f->token = need(lh_strdup("s3cr3t"));
    f->rv = 100;
    lh_buf_init(&f->last_body, MAX_TEXT);
    lh_vec_init(&f->objects, sizeof(struct object));
    lh_vec_init(&f->past, sizeof(struct past));
    lh_vec_init(&f->watches, sizeof(struct watch));
    lh_vec_init(&f->requests, sizeof(char *));
    lh_vec_init(&f->stalled, sizeof(struct lh_call *));
    lh_vec_init(&f->held, sizeof(struct held));
    lh_vec_init(&f->pages, sizeof(struct page));
    rc = lh_x509_new_ca("fake API server", 1, &f->ca, err);
    if (rc == 0)
        rc = lh_x509_new_leaf(&f->ca, names, 1, &f->leaf, err);
    if (rc == 0)
        rc = lh_server_new(loop, &f->server, err);
    if (rc == 0) {
        opts.cert_pem = lh_str(f->leaf.cert_pem);
        opts.key_pem = f->leaf.key_pem;
        rc = lh_server_listen(f->server, &opts, &f->listener, err);
    }
    if (rc < 0) {
        fake_api_free(f);
        return rc;
    }
    *out = f;
    return 0;
}

struct lh_server *fake_api_server(const struct fake_api *f)
{
    return f->server;
}

void fake_api_free(struct fake_api *f)
{
    if (!f)
        return;
    fake_api_break_watches(f);
    fake_api_fault_clear(f);
    fake_api_let_go(f);
    lh_server_free(f->server);
    lh_cert_pair_done(&f->ca);
    lh_cert_pair_done(&f->leaf);
    for (size_t i = 0; i < f->objects.n; i++)
        object_done(lh_vec_at(&f->objects, i));
    for (size_t i = 0; i < f->past.n; i++)
        object_done(&((struct past *)lh_vec_at(&f->past, i))->o);
    fake_api_forget_requests(f);
    for (size_t i = 0; i < f->pages.n; i++) {
        lh_free(((struct page *)lh_vec_at(&f->pages, i))->path);
        lh_free(((struct page *)lh_vec_at(&f->pages, i))->body);
    }
    lh_vec_done(&f->pages);
    lh_vec_done(&f->objects);
    lh_vec_done(&f->past);
    lh_vec_done(&f->watches);
    lh_vec_done(&f->requests);
    lh_vec_done(&f->stalled);
    lh_vec_done(&f->held);
    lh_buf_done(&f->last_body);
    lh_free(f->token);
    lh_free(f->denied);
    lh_free(f->last_accept);
    lh_free(f);
}

int fake_api_config(const struct fake_api *f, struct lh_kube_config *out, struct lh_err *err)
{
    struct lh_kube_config c = {0};
    int rc = lh_secret_copy(f->token, strlen(f->token), &c.token, err);

    if (rc < 0)
        return rc;
    c.server = need(lh_asprintf("https://127.0.0.1:%u", lh_listener_port(f->listener)));
    c.ca_pem = need(lh_strdup(f->ca.cert_pem));
    c.tls_server_name = need(lh_strdup("api.test"));
    c.namespace_ = need(lh_strdup("default"));
    *out = c;
    return 0;
}

struct lh_kube *fake_api_client(struct lh_loop *loop, const struct fake_api *api, const char *agent)
{
    struct lh_kube_config cfg = {0};
    struct lh_kube *kube = NULL;

    if (fake_api_config(api, &cfg, NULL) == 0)
        lh_kube_new(loop, &cfg, agent, &kube, NULL);
    lh_kube_config_done(&cfg);
    return kube;
}

int fake_api_cluster(struct lh_loop **loop, struct fake_api **api, struct lh_kube **kube)
{
    int rc;

    lh_clock_fake(1000000, lh_clock_wall_ms()); /* TLS looks at real time */
    rc = lh_loop_new(loop, NULL);
    if (rc == 0)
        rc = fake_api_new(*loop, api, NULL);
    if (rc < 0)
        return rc;
    *kube = fake_api_client(*loop, *api, "test");
    return *kube ? 0 : -LH_E_INVALID;
}

void fake_api_take_token(struct fake_api *f, const char *token)
{
    lh_free(f->token);
    f->token = need(lh_strdup(token));
}

/* Texts. */

static lh_json *metadata_only(const lh_json *v)
{
    lh_json *o = need(lh_json_new_object());
    lh_json *meta = need(lh_json_deep_copy(lh_json_get(v, "metadata")));

    lh_json_set(o, "kind", lh_json_new_z("PartialObjectMetadata"));
    lh_json_set(o, "apiVersion", lh_json_new_z("meta.k8s.io/v1"));
    lh_json_set(o, "metadata", meta);
    return o;
}

void fake_put_value(struct lh_buf *b, const lh_json *v, bool metadata)
{
    lh_auto_json lh_json *partial = metadata ? metadata_only(v) : NULL;

    lh_json_write(partial ? partial : v, LH_JSON_COMPACT, b);
}

void fake_put_status(struct lh_buf *b, int code, const char *reason, const char *message,
                     const char *cause)
{
    lh_buf_printf(
        b,
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"code\":%d,"
        "\"reason\":\"%s\",\"message\":\"%s\",\"details\":{\"causes\":[{\"reason\":\"%s\"}]}}",
        code, reason, message, cause);
}

/* Watches. */

static bool label_fits(const char *selector, const lh_json *v)
{
    const lh_json *labels = lh_json_path(v, "metadata", "labels", NULL);
    struct lh_str key, value, has;

    if (!selector)
        return true;
    if (!strchr(selector, '='))
        return lh_json_get(labels, selector) != NULL;
    lh_str_cut(lh_str(selector), '=', &key, &value);
    return lh_json_str(lh_json_getn(labels, key), &has) && lh_str_eq(has, value);
}

bool fake_watch_sees(const struct watch *w, const struct object *o)
{
    return strcmp(w->collection, o->collection) == 0 && fits(w->namespace_, o->namespace_) &&
           fits(w->name, o->name) && label_fits(w->label, o->value);
}

void fake_send_event(struct watch *w, const char *type, const lh_json *value)
{
    struct lh_buf b;

    if (w->lost)
        return;
    lh_buf_init(&b, MAX_TEXT);
    lh_buf_printf(&b, "{\"type\":\"%s\",\"object\":", type);
    fake_put_value(&b, value, w->metadata);
    lh_buf_put_z(&b, "}\n");
    lh_call_write(w->call, lh_buf_peek(&b));
    lh_buf_done(&b);
}

void fake_send_bookmark(struct fake_api *f, struct watch *w, bool initial_end)
{
    struct lh_buf b;

    if (w->lost)
        return;
    lh_buf_init(&b, MAX_TEXT);
    lh_buf_printf(
        &b, "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"%lld\"%s}}}\n",
        (long long)f->rv,
        initial_end ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "");
    lh_call_write(w->call, lh_buf_peek(&b));
    lh_buf_done(&b);
}

size_t fake_api_watches(const struct fake_api *f)
{
    return f->watches.n;
}

void fake_api_bookmark(struct fake_api *f)
{
    for (size_t i = 0; i < f->watches.n; i++)
        fake_send_bookmark(f, lh_vec_at(&f->watches, i), false);
}

static void each_watch_ends(struct fake_api *f, void (*end)(struct lh_call *call))
{
    for (size_t i = 0; i < f->watches.n; i++) {
        struct watch *w = lh_vec_at(&f->watches, i);

        end(w->call);
        fake_watch_done(w);
    }
    lh_vec_clear(&f->watches);
}

void fake_api_end_watches(struct fake_api *f)
{
    each_watch_ends(f, lh_call_end);
}

void fake_api_break_watches(struct fake_api *f)
{
    each_watch_ends(f, lh_call_abort);
}

void fake_api_write_watches(struct fake_api *f, const char *text)
{
    for (size_t i = 0; i < f->watches.n; i++)
        lh_call_write(((struct watch *)lh_vec_at(&f->watches, i))->call, lh_str(text));
}

void fake_api_error_watches(struct fake_api *f, int code)
{
    struct lh_buf b;

    lh_buf_init(&b, MAX_TEXT);
    lh_buf_put_z(&b, "{\"type\":\"ERROR\",\"object\":");
    fake_put_status(&b, code, code == 410 ? "Expired" : "InternalError", "as the test wants it",
                    "");
    lh_buf_put_z(&b, "}\n");
    fake_api_write_watches(f, lh_buf_peek(&b).p);
    lh_buf_done(&b);
    fake_api_end_watches(f);
}

void fake_api_lose_watches(struct fake_api *f)
{
    for (size_t i = 0; i < f->watches.n; i++)
        ((struct watch *)lh_vec_at(&f->watches, i))->lost = true;
}

/* Objects. */

static void happened(struct fake_api *f, const char *type, const struct object *o)
{
    struct past p = {.rv = f->rv, .type = type};

    p.o.collection = need(lh_strdup(o->collection));
    p.o.namespace_ = dup_or_null(o->namespace_);
    p.o.name = need(lh_strdup(o->name));
    p.o.value = need(lh_json_deep_copy(o->value));
    need(lh_vec_push(&f->past, &p));
    for (size_t i = 0; i < f->watches.n; i++) {
        struct watch *w = lh_vec_at(&f->watches, i);

        if (fake_watch_sees(w, o))
            fake_send_event(w, type, o->value);
    }
}

struct object *fake_find(const struct fake_api *f, const char *collection, const char *ns,
                         const char *name)
{
    for (size_t i = 0; i < f->objects.n; i++) {
        struct object *o = lh_vec_at(&f->objects, i);

        if (strcmp(o->collection, collection) == 0 && strcmp(o->name, name) == 0 &&
            strcmp(o->namespace_ ? o->namespace_ : "", ns ? ns : "") == 0)
            return o;
    }
    return NULL;
}

void fake_set_version(struct fake_api *f, lh_json *meta)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)++f->rv);
    lh_json_set(meta, "resourceVersion", lh_json_new_z(text));
}

struct object *fake_api_add(struct fake_api *f, const char *collection, lh_json *v)
{
    lh_json *meta = lh_json_mut(lh_json_get(v, "metadata"));
    struct object *o = need(lh_vec_push(&f->objects, NULL));
    char text[24];

    o->collection = need(lh_strdup(collection));
    o->namespace_ = dup_or_null(lh_json_get_z(meta, "namespace"));
    o->name = need(lh_strdup(lh_json_get_z(meta, "name")));
    o->value = v;
    o->owners = need(lh_json_new_object());
    if (!lh_json_get(meta, "uid")) {
        snprintf(text, sizeof(text), "uid-%lld", (long long)++f->uids);
        lh_json_set(meta, "uid", lh_json_new_z(text));
    }
    if (!lh_json_get(meta, "generation"))
        lh_json_set(meta, "generation", lh_json_new_int(1));
    fake_set_version(f, meta);
    happened(f, "ADDED", o);
    return o;
}

void fake_api_replace(struct fake_api *f, struct object *o, lh_json *v)
{
    fake_set_version(f, lh_json_mut(lh_json_get(v, "metadata")));
    lh_json_unref(o->value);
    o->value = v;
    happened(f, "MODIFIED", o);
}

void fake_api_remove(struct fake_api *f, struct object *o)
{
    fake_set_version(f, lh_json_mut(lh_json_get(o->value, "metadata")));
    happened(f, "DELETED", o);
    object_done(o);
    lh_vec_remove(&f->objects, (size_t)(o - (struct object *)f->objects.p));
}

void fake_api_put(struct fake_api *f, const char *collection, const char *json)
{
    lh_json *v = NULL, *meta;
    const lh_json *old;
    struct object *o;
    int64_t generation;

    if (lh_json_parse(lh_str(json), NULL, &v, NULL) < 0)
        abort();
    meta = lh_json_mut(lh_json_get(v, "metadata"));
    o = fake_find(f, collection, lh_json_get_z(meta, "namespace"), lh_json_get_z(meta, "name"));
    if (!o) {
        fake_api_add(f, collection, v);
        return;
    }
    old = lh_json_get(o->value, "metadata");
    generation = lh_json_get(meta, "uid") ? 1 : lh_json_get_int(old, "generation", 0) + 1;
    if (!lh_json_get(meta, "uid"))
        lh_json_set(meta, "uid", lh_json_new_z(lh_json_get_z(old, "uid")));
    if (!lh_json_get(meta, "generation"))
        lh_json_set(meta, "generation", lh_json_new_int(generation));
    fake_api_replace(f, o, v);
}

void fake_api_delete(struct fake_api *f, const char *collection, const char *namespace_,
                     const char *name)
{
    fake_api_remove(f, need(fake_find(f, collection, namespace_, name)));
}

const lh_json *fake_api_get(const struct fake_api *f, const char *collection,
                            const char *namespace_, const char *name)
{
    const struct object *o = fake_find(f, collection, namespace_, name);

    return o ? o->value : NULL;
}

size_t fake_api_happened(const struct fake_api *f, const char *collection, const char *type)
{
    size_t n = 0;

    for (size_t i = 0; i < f->past.n; i++) {
        const struct past *p = lh_vec_at(&f->past, i);

        n += strcmp(p->o.collection, collection) == 0 && strcmp(p->type, type) == 0;
    }
    return n;
}

void fake_api_interfere(struct fake_api *f, unsigned n)
{
    f->interfere = n;
}

void fake_api_compact(struct fake_api *f)
{
    f->oldest = f->rv;
}

void fake_api_watch_list(struct fake_api *f, bool known)
{
    f->no_watch_list = !known;
}

void fake_api_initial_end(struct fake_api *f, bool sent)
{
    f->no_initial_end = !sent;
}

void fake_api_expire_pages(struct fake_api *f)
{
    f->pages_expire = true;
}

void fake_api_lag(struct fake_api *f, bool lags)
{
    f->lags = lags;
}

void fake_api_deny(struct fake_api *f, const char *collection)
{
    lh_free(f->denied);
    f->denied = dup_or_null(collection);
}

void fake_api_fault(struct fake_api *f, const struct fake_api_fault *fault)
{
    f->fault = *fault;
    f->has_fault = true;
}

void fake_api_fault_clear(struct fake_api *f)
{
    f->has_fault = false;
    for (size_t i = 0; i < f->stalled.n; i++)
        lh_call_abort(*(struct lh_call **)lh_vec_at(&f->stalled, i));
    lh_vec_clear(&f->stalled);
}

void fake_api_let_go(struct fake_api *f)
{
    for (size_t i = 0; i < f->held.n; i++) {
        struct held *held = lh_vec_at(&f->held, i);

        lh_call_answer(held->call, held->code, "application/json", lh_str(held->body));
        lh_free(held->body);
    }
    lh_vec_clear(&f->held);
}

size_t fake_api_requests(const struct fake_api *f)
{
    return f->requests.n;
}

const char *fake_api_request(const struct fake_api *f, size_t i)
{
    return i < f->requests.n ? *(char **)lh_vec_at(&f->requests, i) : NULL;
}

size_t fake_api_count(const struct fake_api *f, const char *text)
{
    size_t n = 0;

    for (size_t i = 0; i < f->requests.n; i++)
        n += strstr(fake_api_request(f, i), text) != NULL;
    return n;
}

void fake_api_forget_requests(struct fake_api *f)
{
    for (size_t i = 0; i < f->requests.n; i++)
        lh_free(*(char **)lh_vec_at(&f->requests, i));
    lh_vec_clear(&f->requests);
}

const char *fake_api_last_accept(const struct fake_api *f)
{
    return f->last_accept ? f->last_accept : "";
}

struct lh_str fake_api_last_body(const struct fake_api *f)
{
    return lh_buf_peek(&f->last_body);
}

void fake_api_page(struct fake_api *f, const char *path, int status, const char *body)
{
    struct page p = {
        .path = need(lh_strdup(path)), .body = need(lh_strdup(body)), .status = status};

    for (size_t i = 0; i < f->pages.n; i++) {
        struct page *had = lh_vec_at(&f->pages, i);

        if (strcmp(had->path, path) != 0)
            continue;
        lh_free(had->path);
        lh_free(had->body);
        *had = p;
        return;
    }
    need(lh_vec_push(&f->pages, &p));
}
