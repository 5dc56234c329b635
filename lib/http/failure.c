/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#include "http_priv.h"
#include "leasehold/core/mem.h"

/*
 * Texts are ours or fixed strings of libraries: curl's own messages may quote what the server sent.
 */
static const char UNREACHABLE[] = "Unreachable";
static const char CERTIFICATE[] = "CertificateInvalid";
static const char TOO_LARGE[] = "TooLarge";
static const char ADDRESS[] = "AddressNotAllowed";

static const struct {
    CURLcode curl;
    const char *reason, *what;
} table[] = {
    {CURLE_COULDNT_RESOLVE_HOST, UNREACHABLE, "the name cannot be resolved"},
    {CURLE_COULDNT_CONNECT, UNREACHABLE, "cannot connect"},
    {CURLE_SSL_CONNECT_ERROR, UNREACHABLE,
     "the TLS handshake failed; does the server speak TLS 1.2 or newer on this port?"},
    {CURLE_SSL_CIPHER, UNREACHABLE, "no TLS cipher in common"},
    {CURLE_SSL_CACERT_BADFILE, CERTIFICATE, "the CA bundle cannot be used; it must be PEM"},
    {CURLE_SSL_CERTPROBLEM, CERTIFICATE, "our client certificate or its key cannot be used"},
    {CURLE_PARTIAL_FILE, UNREACHABLE, "the answer was cut off"},
    {CURLE_GOT_NOTHING, UNREACHABLE, "the connection was closed without an answer"},
    {CURLE_RECV_ERROR, UNREACHABLE, "the connection broke before the answer was complete"},
    {CURLE_SEND_ERROR, UNREACHABLE, "the connection broke while the request was sent"},
    {CURLE_WEIRD_SERVER_REPLY, UNREACHABLE, "what answers there does not speak HTTP"},
    {CURLE_UNSUPPORTED_PROTOCOL, UNREACHABLE, "what answers there does not speak HTTP/1"},
    {CURLE_BAD_CONTENT_ENCODING, UNREACHABLE, "the answer's encoding is broken"},
    {CURLE_OPERATION_TIMEDOUT, UNREACHABLE, "no answer in time"},
};

static int fail(struct lh_http_op *op, struct lh_err *err, int code, const char *reason,
                const char *what, const char *detail)
{
    lh_err_fill(err, code, "%s:%s: %s%s%s", op->target.host, op->target.port, what,
                detail ? ": " : "", detail ? detail : "");
    err->http_status = op->status;
    return lh_err_negative(lh_err_reason(err, -code, reason));
}

static int certificate(struct lh_http_op *op, struct lh_err *err)
{
    const char *name = op->h->server_name ? op->h->server_name : op->target.host;
    long verify = X509_V_OK;
    char what[400];

    curl_easy_getinfo(op->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
    /* curl leaves its "unspecified" where the chain was good and the name was not. */
    if (verify != X509_V_OK && verify != X509_V_ERR_UNSPECIFIED)
        return fail(op, err, LH_E_UNAVAILABLE, CERTIFICATE, "its certificate is not trusted",
                    X509_verify_cert_error_string(verify));
    snprintf(what, sizeof(what),
             "its certificate is not for \"%.250s\"; set the store's tlsServerName to a name on it",
             name);
    return fail(op, err, LH_E_UNAVAILABLE, CERTIFICATE, what, NULL);
}

static int connecting(struct lh_http_op *op, struct lh_err *err)
{
    long os = 0;

    if (op->denied[0] && !op->sockets)
        return fail(op, err, LH_E_DENIED, ADDRESS, op->denied,
                    "refused unless the platform lists it in policy.addresses");
    curl_easy_getinfo(op->easy, CURLINFO_OS_ERRNO, &os);
    return fail(op, err, LH_E_UNAVAILABLE, UNREACHABLE, "cannot connect",
                os ? strerrordesc_np((int)os) : NULL);
}

static int too_big(struct lh_http_op *op, struct lh_err *err)
{
    char what[64];

    snprintf(what, sizeof(what), "the answer is larger than %zu bytes", op->max_bytes);
    return fail(op, err, LH_E_TOOBIG, TOO_LARGE, what, NULL);
}

/* OpenSSL's reason, from its own table of fixed words; false if curl's text holds none. */
static bool tls_reason(const struct lh_http_op *op, char *out, size_t room)
{
    static const char mark[] = "SSL routines::";
    const char *p = strstr(op->curl_text, mark);
    size_t n = 0;

    if (!p)
        return false;
    p += sizeof(mark) - 1;
    while (n + 1 < room && p[n] && p[n] != ',') {
        out[n] = p[n];
        n++;
    }
    out[n] = '\0';
    return n > 0;
}

/* In TLS 1.3 a server looks at our certificate after our side of the handshake is over, so its
 * refusal comes where an answer would. It has not looked at the request then. */
static bool client_certificate_refused(struct lh_http_op *op, struct lh_err *err)
{
    char reason[96];

    if (op->got_byte || !tls_reason(op, reason, sizeof(reason)) || !strstr(reason, "alert") ||
        (!strstr(reason, "certificate") && !strstr(reason, "unknown ca")))
        return false;
    op->sent = false;
    fail(op, err, LH_E_UNAVAILABLE, CERTIFICATE, "the server refused our client certificate",
         reason);
    return true;
}

int http_failure(struct lh_http_op *op, CURLcode rc, struct lh_err *err)
{
    char reason[96];

    if (op->too_big)
        return too_big(op, err);
    if (op->in_headers.overflow)
        return fail(op, err, LH_E_TOOBIG, TOO_LARGE, "the answer's headers are larger than 64 KiB",
                    NULL);
    switch ((int)rc) {
    case CURLE_OUT_OF_MEMORY:
    case CURLE_WRITE_ERROR: /* our callbacks: no memory for the body */
        return lh_err_nomem(err);
    case CURLE_PEER_FAILED_VERIFICATION:
        return certificate(op, err);
    case CURLE_COULDNT_CONNECT:
        return connecting(op, err);
    case CURLE_ABORTED_BY_CALLBACK:
        return fail(op, err, LH_E_UNAVAILABLE, UNREACHABLE,
                    "the kept connection was closed before an answer came", NULL);
    default:
        break;
    }
    if (client_certificate_refused(op, err))
        return -err->code;
    for (size_t i = 0; i < LH_ARRAY_LEN(table); i++) {
        if (table[i].curl == rc)
            return fail(op, err, LH_E_UNAVAILABLE, table[i].reason, table[i].what,
                        tls_reason(op, reason, sizeof(reason)) ? reason : NULL);
    }
    return fail(op, err, LH_E_UNAVAILABLE, UNREACHABLE, "the request failed",
                curl_easy_strerror(rc));
}

int http_failure_timeout(struct lh_http_op *op, struct lh_err *err)
{
    lh_ms now = lh_clock_now();
    char what[128];

    if (!op->connected) {
        const char *phase = op->handshaking ? "the TLS handshake did not end"
                            : op->sockets   ? "no connection"
                                            : "the name was not resolved";

        snprintf(what, sizeof(what), "%s within %lld ms", phase,
                 (long long)(now - op->connect_started));
    } else if (!op->got_byte) {
        snprintf(what, sizeof(what), "no answer within %lld ms", (long long)(now - op->started));
    } else if (op->idle_ms && now >= op->last_byte + op->idle_ms) {
        snprintf(what, sizeof(what), "the answer stopped for %u ms", op->idle_ms);
    } else {
        snprintf(what, sizeof(what), "the answer did not end within %u ms", op->timeout_ms);
    }
    return fail(op, err, LH_E_UNAVAILABLE, UNREACHABLE, what, NULL);
}
