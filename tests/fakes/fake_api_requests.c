/* SPDX-License-Identifier: Apache-2.0 */
/* How the fake API server answers. */
#include "fake_api_priv.h"

void fake_api_answer(struct ask *a, int code, struct lh_buf *b)
{
    struct held held = {.call = a->call, .code = code};

    if (a->held) {
        held.body = need(lh_strdup(lh_buf_peek(b).p));
        need(lh_vec_push(&a->f->held, &held));
    } else if (a->lost) {
        lh_call_abort(a->call);
    } else {
        lh_call_answer(a->call, code, "application/json", lh_buf_peek(b));
    }
    lh_buf_done(b);
}

void fake_api_answer_status(struct ask *a, int code, const char *reason, const char *message,
                            const char *cause)
{
    struct lh_buf b;

    lh_buf_init(&b, MAX_TEXT);
    fake_put_status(&b, code, reason, message, cause);
    fake_api_answer(a, code, &b);
}

/* The value of a query's key, decoded; false if it has none. */
bool fake_api_query(const struct lh_request *req, const char *key, char *out, size_t size)
{
    struct lh_str rest = req->query, one, name, value;
    bool more = req->query.n > 0;
    size_t n = 0;

    while (more) {
        more = lh_str_cut(rest, '&', &one, &rest);
        lh_str_cut(one, '=', &name, &value);
        if (!lh_str_eqz(name, key))
            continue;
        for (size_t i = 0; i < value.n && n + 1 < size; i++) {
            char hex[3] = {0};

            if (value.p[i] == '%' && i + 2 < value.n) {
                memcpy(hex, value.p + i + 1, 2);
                out[n++] = (char)strtol(hex, NULL, 16);
                i += 2;
            } else {
                out[n++] = value.p[i];
            }
        }
        out[n] = '\0';
        return true;
    }
    return false;
}

static bool query_is(const struct lh_request *req, const char *key, const char *want)
{
    char value[128];

    return fake_api_query(req, key, value, sizeof(value)) && strcmp(value, want) == 0;
}

/* "/apis/g/v/namespaces/ns/resource/name/sub" and its shorter kin. */
static bool take_apart(struct ask *a)
{
    char parts[PATH_PARTS][128] = {{0}};
    struct lh_str rest = a->req->path, one;
    int n = 0, at;
    bool more = rest.n > 0;

    lh_str_cut(rest, '/', &one, &rest);
    while (more && n < PATH_PARTS) {
        more = lh_str_cut(rest, '/', &one, &rest);
        snprintf(parts[n++], sizeof(parts[0]), "%.*s", (int)one.n, one.p);
    }
    at = strcmp(parts[0], "apis") == 0 ? 3 : 2;
    if (n <= at)
        return false;
    if (strcmp(parts[at], "namespaces") == 0 && n > at + 2) {
        snprintf(ASK_NAMESPACE(a), sizeof(parts[0]), "%s", parts[at + 1]);
        at += 2;
    }
    if (strcmp(parts[0], "apis") == 0)
        snprintf(a->collection, sizeof(a->collection), "%.60s/%.60s/%.60s", parts[1], parts[2],
                 parts[at]);
    else
        snprintf(a->collection, sizeof(a->collection), "%.60s/%.60s", parts[1], parts[at]);
    if (n > at + 1)
        snprintf(ASK_NAME(a), sizeof(parts[0]), "%s", parts[at + 1]);
    if (n > at + 2)
        snprintf(ASK_SUB(a), sizeof(parts[0]), "%s", parts[at + 2]);
    return true;
}

/* The watch that a request describes; also what a list looks for. */
static struct watch wanted(const struct ask *a)
{
    static const char by_name[] = "metadata.name=";
    struct watch w = {.call = a->call, .metadata = a->metadata};
    char value[200];

    w.collection = need(lh_strdup(a->collection));
    w.namespace_ = dup_or_null(ASK_NAMESPACE(a));
    if (fake_api_query(a->req, "labelSelector", value, sizeof(value)))
        w.label = dup_or_null(value);
    /* Other fields select nothing here: tests put what fits. */
    if (fake_api_query(a->req, "fieldSelector", value, sizeof(value)) &&
        strncmp(value, by_name, sizeof(by_name) - 1) == 0)
        w.name = dup_or_null(value + sizeof(by_name) - 1);
    return w;
}

static int64_t asked_version(const struct ask *a)
{
    char value[32];

    return fake_api_query(a->req, "resourceVersion", value, sizeof(value))
               ? strtoll(value, NULL, 10)
               : 0;
}

static void start_watch(struct fake_api *f, struct ask *a)
{
    bool initial = query_is(a->req, "sendInitialEvents", "true");
    int64_t from = asked_version(a);
    struct watch w;

    if (initial && f->no_watch_list) {
        fake_api_answer_status(a, 422, "Invalid", "sendInitialEvents is forbidden",
                               "FieldValueForbidden");
        return;
    }
    if (!initial && from < f->oldest) {
        fake_api_answer_status(a, 410, "Expired", "too old resource version", "");
        return;
    }
    w = wanted(a);
    lh_call_begin(a->call, 200, "application/json", NULL);
    for (size_t i = 0; initial && i < f->objects.n; i++) {
        struct object *o = lh_vec_at(&f->objects, i);

        if (fake_watch_sees(&w, o))
            fake_send_event(&w, "ADDED", o->value);
    }
    if (initial && !f->no_initial_end)
        fake_send_bookmark(f, &w, true);
    for (size_t i = 0; !initial && i < f->past.n; i++) {
        struct past *p = lh_vec_at(&f->past, i);

        if (p->rv > from && fake_watch_sees(&w, &p->o))
            fake_send_event(&w, p->type, p->o.value);
    }
    need(lh_vec_push(&f->watches, &w));
}

static void answer_list(struct fake_api *f, struct ask *a)
{
    struct watch w = wanted(a);
    char value[64];
    size_t from = 0, limit = SIZE_MAX, seen = 0, sent = 0;
    bool more = false;
    struct lh_buf b;

    if (fake_api_query(a->req, "continue", value, sizeof(value)))
        from = (size_t)strtoull(value, NULL, 10);
    if (fake_api_query(a->req, "limit", value, sizeof(value)))
        limit = (size_t)strtoull(value, NULL, 10);
    lh_buf_init(&b, MAX_TEXT);
    lh_buf_put_z(&b, "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[");
    for (size_t i = 0; i < f->objects.n; i++) {
        struct object *o = lh_vec_at(&f->objects, i);

        if (!fake_watch_sees(&w, o) || seen++ < from)
            continue;
        more = sent == limit;
        if (more)
            break;
        lh_buf_put_z(&b, sent++ > 0 ? "," : "");
        fake_put_value(&b, o->value, a->metadata);
    }
    lh_buf_printf(&b, "],\"metadata\":{\"resourceVersion\":\"%lld\"", (long long)f->rv);
    if (more)
        lh_buf_printf(&b, ",\"continue\":\"%zu\"", from + sent);
    lh_buf_put_z(&b, "}}");
    fake_watch_done(&w);
    fake_api_answer(a, 200, &b);
}

static void list(struct fake_api *f, struct ask *a)
{
    char value[64];

    if (f->pages_expire && fake_api_query(a->req, "continue", value, sizeof(value)))
        fake_api_answer_status(a, 410, "Expired", "the continue token is too old", "");
    else if (f->lags && asked_version(a) > 0)
        fake_api_answer_status(a, 504, "Timeout", "Too large resource version",
                               "ResourceVersionTooLarge");
    else
        answer_list(f, a);
}

static void token_request(struct ask *a)
{
    lh_auto_json lh_json *v = NULL;
    const lh_json *spec;
    struct lh_str audience = {NULL, 0};
    struct lh_buf b;

    lh_json_parse(a->req->body, NULL, &v, NULL);
    spec = lh_json_get(v, "spec");
    lh_json_str(lh_json_at(lh_json_get(spec, "audiences"), 0), &audience);
    lh_buf_init(&b, MAX_TEXT);
    lh_buf_printf(&b, "{\"status\":{\"token\":\"%s.%s.%.*s.%lld\"}}", ASK_NAMESPACE(a), ASK_NAME(a),
                  (int)audience.n, audience.p,
                  (long long)lh_json_get_int(spec, "expirationSeconds", 0));
    fake_api_answer(a, 201, &b);
}

static void one(struct fake_api *f, struct ask *a)
{
    struct object *o;
    struct lh_buf b;

    if (strcmp(ASK_SUB(a), "token") == 0) {
        token_request(a);
        return;
    }
    o = fake_find(f, a->collection, ASK_NAMESPACE(a), ASK_NAME(a));
    if (!o) {
        fake_api_answer_status(a, 404, "NotFound", "not found", "");
        return;
    }
    lh_buf_init(&b, MAX_TEXT);
    fake_put_value(&b, o->value, a->metadata);
    fake_api_answer(a, 200, &b);
}

static void record(struct fake_api *f, const struct lh_request *req, struct lh_call *call)
{
    char *line = need(lh_asprintf("%s %.*s%s%.*s", req->method, (int)req->path.n, req->path.p,
                                  req->query.n ? "?" : "", (int)req->query.n, req->query.p));
    struct lh_str accept = lh_call_header(call, "accept");

    need(lh_vec_push(&f->requests, &line));
    lh_free(f->last_accept);
    f->last_accept = need(lh_str_dup(accept));
    lh_buf_reset(&f->last_body);
    lh_buf_put_str(&f->last_body, req->body);
}

/* True if a fault took the call. */
static bool faulted(struct fake_api *f, const struct lh_request *req, struct ask *a)
{
    const char *line = fake_api_request(f, f->requests.n - 1) + strlen(req->method) + 1;
    struct fake_api_fault *t = &f->fault;
    struct lh_call *call = a->call;
    struct lh_buf b;

    if (!f->has_fault || !fits(t->method, req->method) ||
        (t->agent && !lh_str_eqz(lh_call_header(call, "user-agent"), t->agent)) ||
        (t->prefix && strncmp(line, t->prefix, strlen(t->prefix)) != 0))
        return false;
    if (t->times > 0 && --t->times == 0)
        f->has_fault = false;
    a->lost = t->after;
    a->held = t->hold;
    if (t->after || t->hold)
        return false;
    if (t->stall) {
        need(lh_vec_push(&f->stalled, &call));
        return true;
    }
    if (t->status == 0) {
        lh_call_abort(call);
        return true;
    }
    lh_buf_init(&b, MAX_TEXT);
    if (t->body)
        lh_buf_put_z(&b, t->body);
    else
        fake_put_status(&b, t->status, "Fault", "as the test wants it", "");
    lh_call_begin(call, t->status, "application/json", t->headers);
    lh_call_write(call, lh_buf_peek(&b));
    lh_call_end(call);
    lh_buf_done(&b);
    return true;
}

static bool paged(struct fake_api *f, struct ask *a)
{
    if (strcmp(a->req->method, "GET") != 0)
        return false;
    for (size_t i = 0; i < f->pages.n; i++) {
        const struct page *p = lh_vec_at(&f->pages, i);

        if (!lh_str_eqz(a->req->path, p->path))
            continue;
        lh_call_answer(a->call, p->status, "text/plain", lh_str(p->body));
        return true;
    }
    return false;
}

void fake_api_handle(void *arg, const struct lh_request *req, struct lh_call *call)
{
    struct lh_str auth = lh_call_header(call, "authorization"),
                  accept = lh_call_header(call, "accept");
    struct fake_api *f = arg;
    struct ask a = {.f = f, .req = req, .call = call};

    record(f, req, call);
    if (faulted(f, req, &a))
        return;
    if (!lh_str_starts(auth, LH_STR("Bearer ")) ||
        !lh_str_eqz((struct lh_str){auth.p + 7, auth.n - 7}, f->token)) {
        fake_api_answer_status(&a, 401, "Unauthorized", "Unauthorized", "");
        return;
    }
    if (paged(f, &a))
        return;
    if (!take_apart(&a)) {
        fake_api_answer_status(&a, 404, "NotFound", "no such path", "");
        return;
    }
    a.metadata = accept.n > 0 && memmem(accept.p, accept.n, "PartialObjectMetadata", 21);
    if (f->denied && strcmp(f->denied, a.collection) == 0)
        fake_api_answer_status(&a, 403, "Forbidden", "User cannot list resource", "");
    else if (strcmp(req->method, "GET") != 0 && strcmp(ASK_SUB(&a), "token") != 0)
        fake_api_write(f, &a);
    else if (ASK_NAME(&a)[0])
        one(f, &a);
    else if (query_is(req, "watch", "1"))
        start_watch(f, &a);
    else
        list(f, &a);
}
