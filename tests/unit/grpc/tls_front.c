/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_front.h"

#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

int tls_front_listen(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, 8) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &n) < 0)
        return -1;
    *port = ntohs(at.sin_port);
    return fd;
}

static X509 *cert_of(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    BIO_free(bio);
    return x;
}

static int choose_h2(SSL *ssl, const unsigned char **out, unsigned char *n,
                     const unsigned char *offered, unsigned n_offered, void *arg)
{
    (void)ssl;
    (void)arg;
    if (n_offered < 3 || memcmp(offered, "\x02h2", 3) != 0)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = offered + 1;
    *n = 2;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *context_of(const struct tls_front_options *o)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    BIO *bio = BIO_new_mem_buf(lh_secret_expose_const(o->pair->key_pem),
                               (int)lh_secret_len(o->pair->key_pem));

    X509 *cert = cert_of(o->pair->cert_pem);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

    BIO_free(bio);
    SSL_CTX_use_certificate(ctx, cert);
    SSL_CTX_use_PrivateKey(ctx, key);
    X509_free(cert);
    EVP_PKEY_free(key);
    if (o->max_version)
        SSL_CTX_set_max_proto_version(ctx, (int)o->max_version);
    if (!o->no_h2)
        SSL_CTX_set_alpn_select_cb(ctx, choose_h2, NULL);
    if (o->client_ca_pem) {
        cert = cert_of(o->client_ca_pem);
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);
        X509_free(cert);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return ctx;
}

static int connect_to(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    return connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 ? fd : -1;
}

static bool copy_out(SSL *ssl, int plain)
{
    char bytes[16384];

    do {
        int n = SSL_read(ssl, bytes, sizeof(bytes));

        if (n <= 0 || send(plain, bytes, (size_t)n, MSG_NOSIGNAL) != n)
            return false;
    } while (SSL_pending(ssl) > 0);
    return true;
}

static bool copy_in(SSL *ssl, int plain)
{
    char bytes[16384];
    ssize_t n = recv(plain, bytes, sizeof(bytes), 0);

    return n > 0 && SSL_write(ssl, bytes, (int)n) == (int)n;
}

static void serve_one(SSL_CTX *ctx, int fd, const char *path)
{
    SSL *ssl = SSL_new(ctx);
    struct pollfd p[2] = {{fd, POLLIN, 0}, {-1, POLLIN, 0}};
    bool more = true;

    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        p[1].fd = connect_to(path);
        while (more && poll(p, 2, -1) > 0)
            more = (!p[0].revents || copy_out(ssl, p[1].fd)) &&
                   (!p[1].revents || copy_in(ssl, p[1].fd));
        SSL_shutdown(ssl);
        close(p[1].fd);
    } else {
        char rest[4096];

        /* What the client still says is read, so that the alert is not lost to a reset. */
        shutdown(fd, SHUT_WR);
        while (recv(fd, rest, sizeof(rest), 0) > 0)
            ;
    }
    SSL_free(ssl);
    close(fd);
}

int tls_front_start(const struct tls_front_options *o, struct tls_front *out)
{
    int listener = tls_front_listen(&out->port);
    pid_t parent = getpid();
    SSL_CTX *ctx;

    if (listener < 0)
        return -1;
    ctx = context_of(o); /* here: a secret does not go with a fork */
    out->pid = fork();
    if (out->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        if (getppid() != parent)
            _exit(1);
        for (;;)
            serve_one(ctx, accept(listener, NULL, NULL), o->path);
    }
    SSL_CTX_free(ctx);
    close(listener);
    return out->pid > 0 ? 0 : -1;
}

void tls_front_stop(struct tls_front *f)
{
    if (f->pid <= 0)
        return;
    kill(f->pid, SIGKILL);
    waitpid(f->pid, NULL, 0);
    f->pid = 0;
}
