/* SPDX-License-Identifier: Apache-2.0 */
#include "head.h"

#include <string.h>
#include <strings.h>

#include "leasehold/core/mem.h"

enum { MAX_CHUNK_DIGITS = 8, MAX_CHUNK_OVERHEAD = 64 * 1024 };

size_t head_length(const char *p, size_t n, size_t from)
{
    static const char end[] = "\r\n\r\n";
    const char *at;

    from = from > 3 ? from - 3 : 0;
    at = memmem(p + from, n - from, end, 4);
    return at ? (size_t)(at - p) + 4 : 0;
}

static bool is_tchar(unsigned char c)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr(others, c));
}

static bool is_token(struct lh_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_tchar((unsigned char)s.p[i]))
            return false;
    }
    return s.n > 0;
}

static bool is_value(struct lh_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* In place; what it gives is never longer. */
static int decode_path(char *p, size_t n, struct lh_str *out)
{
    size_t to = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        int high, low;

        if (c <= 0x20 || c == 0x7f)
            return 400;
        if (c == '%') {
            high = i + 2 < n ? hex_digit(p[i + 1]) : -1;
            low = i + 2 < n ? hex_digit(p[i + 2]) : -1;
            if (high < 0 || low < 0 || !(high | low))
                return 400;
            c = (unsigned char)(high << 4 | low);
            i += 2;
        }
        p[to++] = (char)c;
    }
    *out = (struct lh_str){p, to};
    return 0;
}

static int parse_target(struct lh_str target, struct head *out)
{
    struct lh_str path, query;

    if (!target.n || target.p[0] != '/' || !is_value(target) || memchr(target.p, '#', target.n))
        return 400;
    lh_str_cut(target, '?', &path, &query);
    out->query = query;
    return decode_path((char *)path.p, path.n, &out->path);
}

static int parse_request_line(struct lh_str line, struct head *out)
{
    struct lh_str method, target, version, rest;
    int status;

    if (!lh_str_cut(line, ' ', &method, &rest) || !lh_str_cut(rest, ' ', &target, &version))
        return 400;
    if (!is_token(method) || method.n > 32)
        return 400;
    if (lh_str_eqz(version, "HTTP/1.1"))
        out->http11 = true;
    else if (!lh_str_eqz(version, "HTTP/1.0"))
        return lh_str_starts(version, LH_STR("HTTP/")) && version.n == 8 ? 505 : 400;
    status = parse_target(target, out);
    if (status)
        return status;
    ((char *)method.p)[method.n] = '\0'; /* over the space */
    out->method = method.p;
    return 0;
}

static bool name_is(struct lh_str name, const char *z)
{
    return name.n == strlen(z) && strncasecmp(name.p, z, name.n) == 0;
}

static bool lists(struct lh_str value, const char *word)
{
    struct lh_str item;

    while (value.n) {
        lh_str_cut(value, ',', &item, &value);
        if (name_is(lh_str_trim(item), word))
            return true;
    }
    return false;
}

/* What frames the body must be said once and plainly. */
static int parse_length(struct lh_str value, bool *seen, struct head *out)
{
    uint64_t n = 0;

    if (*seen || !value.n || value.n > 18)
        return 400;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9')
            return 400;
        n = n * 10 + (uint64_t)(value.p[i] - '0');
    }
    *seen = true;
    out->length = n;
    return 0;
}

static int parse_encoding(struct lh_str value, struct head *out)
{
    if (out->chunked)
        return 400;
    out->chunked = true;
    return name_is(value, "chunked") ? 0 : 501;
}

static void parse_connection(struct lh_str value, struct head *out)
{
    if (lists(value, "close"))
        out->keep_alive = false;
    else if (lists(value, "keep-alive"))
        out->keep_alive = true;
}

static int interpret(struct head *out)
{
    bool length = false;
    unsigned hosts = 0;
    int status = 0;

    out->keep_alive = out->http11;
    for (size_t i = 0; i < out->n_fields && !status; i++) {
        struct lh_str name = out->fields[i].name, value = out->fields[i].value;

        if (name_is(name, "content-length"))
            status = parse_length(value, &length, out);
        else if (name_is(name, "transfer-encoding"))
            status = parse_encoding(value, out);
        else if (name_is(name, "connection"))
            parse_connection(value, out);
        else if (name_is(name, "expect"))
            out->expect_continue = name_is(value, "100-continue");
        else if (name_is(name, "host"))
            hosts++;
    }
    if (status)
        return status;
    if ((out->chunked && (length || !out->http11)) || hosts > 1 || (out->http11 && hosts == 0))
        return 400;
    return 0;
}

static int parse_field(struct lh_str line, struct head *out)
{
    struct lh_str name, value;

    /* A line that begins with white space would continue the one before it: obsolete, and read
     * differently by different servers. The token test refuses it. */
    if (!lh_str_cut(line, ':', &name, &value) || !is_token(name) || !is_value(value))
        return 400;
    if (out->n_fields == HEAD_MAX_FIELDS)
        return 431;
    out->fields[out->n_fields++] = (struct head_field){.name = name, .value = lh_str_trim(value)};
    return 0;
}

int head_parse(char *text, size_t n, struct head *out)
{
    struct lh_str rest = {text, n - 2}, line;
    bool first = true;
    int status;

    memset(out, 0, sizeof(*out));
    while (rest.n) {
        /* is_value() finds the carriage returns that stand anywhere else. */
        if (!lh_str_cut(rest, '\n', &line, &rest) || !line.n || line.p[line.n - 1] != '\r')
            return 400;
        line.n--;
        status = first ? parse_request_line(line, out) : parse_field(line, out);
        if (status)
            return status;
        first = false;
    }
    return first ? 400 : interpret(out);
}

struct lh_str head_field(const struct head *h, const char *name)
{
    for (size_t i = h->n_fields; i > 0; i--) {
        if (name_is(h->fields[i - 1].name, name))
            return h->fields[i - 1].value;
    }
    return (struct lh_str){NULL, 0};
}

static int size_digit(struct chunked *c, char ch)
{
    int digit = hex_digit(ch);

    if (digit < 0 || ++c->digits > MAX_CHUNK_DIGITS)
        return 400;
    c->left = c->left << 4 | (uint64_t)digit;
    return 0;
}

static int size_end(struct chunked *c, char ch)
{
    if (c->digits == 0)
        return 400;
    if (ch == '\r')
        c->state = CHUNK_SIZE_LF;
    else if (ch == ';')
        c->state = CHUNK_EXT;
    else
        return 400;
    return 0;
}

/* One byte of framing. */
static int frame(struct chunked *c, char ch)
{
    if (++c->overhead > MAX_CHUNK_OVERHEAD)
        return 400;
    switch (c->state) {
    case CHUNK_SIZE:
        return hex_digit(ch) >= 0 ? size_digit(c, ch) : size_end(c, ch);
    case CHUNK_EXT:
        if (ch == '\r')
            c->state = CHUNK_SIZE_LF;
        return ch == '\n' ? 400 : 0;
    case CHUNK_SIZE_LF:
        c->state = c->left ? CHUNK_DATA : CHUNK_TRAILER;
        return ch == '\n' ? 0 : 400;
    case CHUNK_DATA_CR:
        c->state = CHUNK_DATA_LF;
        return ch == '\r' ? 0 : 400;
    case CHUNK_DATA_LF:
        c->state = CHUNK_SIZE;
        c->digits = 0;
        return ch == '\n' ? 0 : 400;
    case CHUNK_TRAILER:
        c->state = ch == '\r' ? CHUNK_LAST_LF : CHUNK_TRAILER_LINE;
        return ch == '\n' ? 400 : 0;
    case CHUNK_TRAILER_LINE:
        if (ch == '\r')
            c->state = CHUNK_TRAILER_LF;
        return ch == '\n' ? 400 : 0;
    case CHUNK_TRAILER_LF:
        c->state = CHUNK_TRAILER;
        return ch == '\n' ? 0 : 400;
    case CHUNK_LAST_LF:
        c->state = CHUNK_DONE;
        return ch == '\n' ? 0 : 400;
    case CHUNK_DATA:
    case CHUNK_DONE:
        break;
    }
    return 400;
}

int chunked_feed(struct chunked *c, struct lh_str in, size_t *used, struct lh_str *body)
{
    size_t i = 0, n;

    *body = (struct lh_str){NULL, 0};
    for (; i < in.n && c->state != CHUNK_DATA && c->state != CHUNK_DONE; i++) {
        int status = frame(c, in.p[i]);

        if (status)
            return status;
    }
    if (c->state == CHUNK_DATA && i < in.n) {
        n = in.n - i < c->left ? in.n - i : (size_t)c->left;
        *body = (struct lh_str){in.p + i, n};
        i += n;
        c->left -= n;
        if (!c->left)
            c->state = CHUNK_DATA_CR;
    }
    *used = i;
    return 0;
}
