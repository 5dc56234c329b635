/* SPDX-License-Identifier: Apache-2.0 */
/* The API server's errors (meta/v1 Status) as ours. */
#include <string.h>

#include "kube_priv.h"
#include "leasehold/core/mem.h"

enum { MAX_SHOWN = 160 };

static const struct row {
    int status, code;
} codes[] = {
    {400, LH_E_INVALID},  {401, LH_E_DENIED},      {403, LH_E_DENIED}, {404, LH_E_NOTFOUND},
    {409, LH_E_CONFLICT}, {410, LH_E_GONE},        {413, LH_E_TOOBIG}, {422, LH_E_INVALID},
    {429, LH_E_BUSY},     {408, LH_E_UNAVAILABLE},
};

static int code_of(int status)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(codes); i++) {
        if (codes[i].status == status)
            return codes[i].code;
    }
    return status >= 400 && status < 500 ? LH_E_INVALID : LH_E_UNAVAILABLE;
}

/* A cache that lags behind our resource version answers 504; only a list without one helps. */
static bool lags_behind(const lh_json *status)
{
    const lh_json *causes = lh_json_path(status, "details", "causes", NULL);

    for (size_t i = 0; i < lh_json_len(causes); i++) {
        const char *reason = lh_json_get_z(lh_json_at(causes, i), "reason");

        if (reason && strcmp(reason, "ResourceVersionTooLarge") == 0)
            return true;
    }
    return false;
}

/* Authorization lets us, but what was sent is refused: as Kubernetes words it (webhook/errors,
 * validating/dispatcher). The rest of such a message is its author's, and may quote an object. */
static size_t admission_says(const char *message)
{
    static const struct {
        const char *begin, *end;
    } words[] = {
        {"admission webhook \"", " denied the request"},
        {"ValidatingAdmissionPolicy '", " denied request"},
    };

    for (size_t i = 0; message && i < LH_ARRAY_LEN(words); i++) {
        const char *at = strstr(message, words[i].begin);
        const char *end = at ? strstr(at, words[i].end) : NULL;

        if (end)
            return (size_t)(end - message) + strlen(words[i].end);
    }
    return 0;
}

/* Printable ASCII of z, at most most of it. */
static const char *shown(const char *z, size_t most, char buf[MAX_SHOWN + 1])
{
    size_t n = 0;

    for (; z && *z && n < most && n < MAX_SHOWN; z++)
        buf[n++] = (char)(*z >= 0x20 && *z < 0x7f ? *z : '?');
    buf[n] = '\0';
    return buf;
}

static int fill(const char *what, int status, const lh_json *obj, int retry_after_ms,
                struct lh_err *err)
{
    char reason[MAX_SHOWN + 1], message[MAX_SHOWN + 1];
    const char *why = status == 403 ? lh_json_get_z(obj, "message") : NULL;
    size_t refused = admission_says(why);
    int code = refused ? LH_E_INVALID : code_of(status), rc;

    if (status == 504 && lags_behind(obj))
        code = LH_E_GONE;
    shown(lh_json_get_z(obj, "reason"), MAX_SHOWN, reason);
    /* Only what authorization says is passed on: it names user, verb and resource, which is what is
     * to be mended. Other messages may quote an object. */
    shown(why, refused ? refused : MAX_SHOWN, message);
    rc = lh_err_set(err, code, "%s: %d%s%s%s%s", what, status, *reason ? " " : "", reason,
                    *message ? ": " : "", message);
    if (err) {
        err->http_status = status;
        err->retry_ms = retry_after_ms;
    }
    return rc;
}

int kube_status_error(const char *method, const char *path, int status, struct lh_str body,
                      int retry_after_ms, struct lh_err *err)
{
    lh_auto_json lh_json *obj = NULL;
    lh_auto_free char *what = NULL;
    const char *query = strchr(path, '?');

    /* A proxy's page is no JSON: then there is no more to say than the number. */
    if (body.n > 0)
        lh_json_parse(body, NULL, &obj, NULL);
    what =
        lh_asprintf("%s %.*s", method, (int)(query ? (size_t)(query - path) : strlen(path)), path);
    return fill(what ? what : method, status, obj, retry_after_ms, err);
}

enum kube_invalid kube_status_invalid(struct lh_str body)
{
    lh_auto_json lh_json *obj = NULL;
    const lh_json *causes;
    size_t n;

    if (lh_json_parse(body, NULL, &obj, NULL) < 0)
        return KUBE_INVALID_REQUEST;
    causes = lh_json_path(obj, "details", "causes", NULL);
    n = lh_json_len(causes);
    for (size_t i = 0; i < n; i++) {
        const char *field = lh_json_get_z(lh_json_at(causes, i), "field");

        if (!field || strcmp(field, "metadata.uid") != 0)
            return KUBE_INVALID_OBJECT;
    }
    return n > 0 ? KUBE_INVALID_UID : KUBE_INVALID_REQUEST;
}

int kube_status_object(const char *what, const lh_json *obj, struct lh_err *err)
{
    int64_t status = lh_json_get_int(obj, "code", 500);
    int64_t seconds = 0;
    const lh_json *details = lh_json_get(obj, "details");

    if (status < 400 || status > 599)
        status = 500;
    if (details)
        seconds = lh_json_get_int(details, "retryAfterSeconds", 0);
    if (seconds < 0 || seconds > 600)
        seconds = 600;
    return fill(what, (int)status, obj, (int)seconds * 1000, err);
}
