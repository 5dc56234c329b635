/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>

#include "http_priv.h"
#include "leasehold/core/mem.h"

static int url_part(CURLU *u, CURLUPart part, unsigned flags, char **out, struct lh_err *err)
{
    char *text = NULL;
    CURLUcode rc = curl_url_get(u, part, &text, flags);

    if (rc == CURLUE_OUT_OF_MEMORY)
        return lh_err_nomem(err);
    *out = rc ? NULL : text;
    return 0;
}

static int not_requestable(struct lh_err *err)
{
    return lh_err_set(err, LH_E_INVALID, "not a URL that can be requested");
}

static int fill(CURLU *u, struct http_target *t, struct lh_err *err)
{
    static const CURLUPart parts[] = {CURLUPART_URL, CURLUPART_SCHEME, CURLUPART_HOST,
                                      CURLUPART_PORT};
    char **const fields[] = {&t->url, &t->scheme, &t->host, &t->port};
    char *path = NULL, *query = NULL, *port = NULL;
    int rc = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(parts); i++) {
        rc = url_part(u, parts[i], CURLU_DEFAULT_PORT, fields[i], err);
        if (rc < 0)
            return rc;
    }
    rc = url_part(u, CURLUPART_PATH, 0, &path, err);
    if (rc == 0)
        rc = url_part(u, CURLUPART_QUERY, 0, &query, err);
    if (rc == 0)
        rc = url_part(u, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT, &port, err);
    if (rc == 0) {
        t->default_port = !port;
        t->path_and_query = query ? lh_asprintf("%s?%s", path, query) : lh_strdup(path);
        if (!t->path_and_query)
            rc = lh_err_nomem(err);
        else if (!t->url || !t->scheme || !t->host || !t->port)
            rc = not_requestable(err); /* "file:" has no host, others have no known port */
    }
    curl_free(path);
    curl_free(query);
    curl_free(port);
    return rc;
}

static int check(CURLU *u, const struct http_target *t, bool allow_plain, struct lh_err *err)
{
    char *fragment = NULL;
    int rc = url_part(u, CURLUPART_FRAGMENT, 0, &fragment, err);

    if (rc < 0)
        return rc;
    curl_free(fragment);
    if (fragment)
        return lh_err_set(err, LH_E_INVALID, "the URL for %s:%s has a fragment (#)", t->host,
                          t->port);
    if (!t->https && !(allow_plain && strcasecmp(t->scheme, "http") == 0))
        return lh_err_set(err, LH_E_INVALID, "the URL for %s:%s must be https", t->host, t->port);
    return 0;
}

/* CURLU_PATH_AS_IS: the path that was checked is the path that is sent. */
enum { URL_FLAGS = CURLU_PATH_AS_IS | CURLU_DISALLOW_USER };

int http_target_parse(const char *url, bool allow_plain, struct http_target *out,
                      struct lh_err *err)
{
    struct http_target t = {0};
    CURLU *u = curl_url();
    CURLUcode set;
    int rc;

    if (!u)
        return lh_err_nomem(err);
    set = curl_url_set(u, CURLUPART_URL, url, URL_FLAGS);
    if (set) {
        curl_url_cleanup(u);
        return set == CURLUE_OUT_OF_MEMORY ? lh_err_nomem(err) : not_requestable(err);
    }
    rc = fill(u, &t, err);
    if (rc == 0) {
        t.https = strcasecmp(t.scheme, "https") == 0;
        rc = check(u, &t, allow_plain, err);
    }
    curl_url_cleanup(u);
    if (rc < 0) {
        http_target_done(&t);
        return rc;
    }
    *out = t;
    return 0;
}

void http_target_done(struct http_target *t)
{
    curl_free(t->url);
    curl_free(t->scheme);
    curl_free(t->host);
    curl_free(t->port);
    lh_free(t->path_and_query);
    memset(t, 0, sizeof(*t));
}

static bool same_origin(const struct http_target *a, const struct http_target *b)
{
    return strcasecmp(a->scheme, b->scheme) == 0 && strcasecmp(a->host, b->host) == 0 &&
           strcmp(a->port, b->port) == 0;
}

static bool is_listed(const struct http_target *t, char *const *allowed, bool allow_plain)
{
    struct http_target base;
    bool found = false;

    for (size_t i = 0; allowed[i] && !found; i++) {
        if (http_target_parse(allowed[i], allow_plain, &base, NULL) < 0)
            continue;
        found = same_origin(t, &base);
        http_target_done(&base);
    }
    return found;
}

static int join(const char *origin, struct lh_str tail, char **out, struct lh_err *err)
{
    char *text = lh_asprintf("%s%.*s", origin, (int)tail.n, tail.p);

    if (!text)
        return lh_err_nomem(err);
    *out = text;
    return 0;
}

static int denied(struct lh_err *err, const struct http_target *from, const char *what)
{
    lh_err_fill(err, LH_E_DENIED, "%s:%s redirects %s; the request was not sent there", from->host,
                from->port, what);
    return lh_err_negative(lh_err_reason(err, -LH_E_DENIED, "AddressNotAllowed"));
}

/* Both sides decoded, since a server may quote other characters than we do. */
static int same_path(const char *a, const char *b, bool *same, struct lh_err *err)
{
    int na = 0, nb = 0;
    char *da = curl_easy_unescape(NULL, a, 0, &na), *db = curl_easy_unescape(NULL, b, 0, &nb);
    int rc = da && db ? 0 : lh_err_nomem(err);

    if (rc == 0)
        *same = na == nb && memcmp(da, db, (size_t)na) == 0;
    curl_free(da);
    curl_free(db);
    return rc;
}

int http_target_redirect(const struct http_target *from, struct lh_str location,
                         char *const *allowed, bool allow_plain, struct http_target *out,
                         struct lh_err *err)
{
    struct http_target to = {0};
    lh_auto_free char *text = NULL, *url = NULL;
    lh_auto_free char *origin = NULL;
    bool same = false;
    int rc;

    if (!location.n || memchr(location.p, '\0', location.n))
        return denied(err, from, "without saying where");
    origin = lh_asprintf("%s://%s:%s", from->scheme, from->host, from->port);
    if (!origin)
        return lh_err_nomem(err);
    rc = join(location.p[0] == '/' && !lh_str_starts(location, LH_STR("//")) ? origin : "",
              location, &text, err);
    if (rc < 0)
        return rc;
    if (!strstr(text, "://") || http_target_parse(text, allow_plain, &to, NULL) < 0)
        return denied(err, from, "to something that is no https URL");
    rc = 0;
    if (!is_listed(&to, allowed, allow_plain))
        rc = denied(err, from, "to an address that is not listed");
    if (rc == 0)
        rc = same_path(to.path_and_query, from->path_and_query, &same, err);
    if (rc == 0 && !same)
        rc = denied(err, from, "to another path");
    if (rc == 0) {
        url = lh_asprintf("%s://%s:%s%s", to.scheme, to.host, to.port, from->path_and_query);
        rc = url ? http_target_parse(url, allow_plain, out, err) : lh_err_nomem(err);
    }
    http_target_done(&to);
    return rc;
}
