#include <features.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "CBench.h"

static SSL_CTX *settings;

struct bench_tls *bench_tls_new(int socket) {
  if (!settings) {
    settings = SSL_CTX_new(TLS_client_method());
    if (!settings)
      return NULL;
    // Whom it talks to is not the question here; every session is a whole handshake.
    SSL_CTX_set_verify(settings, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(settings, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(settings, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(settings, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    // All subjects agree on the same cipher.
    if (SSL_CTX_set_ciphersuites(settings, "TLS_AES_128_GCM_SHA256") != 1)
      return NULL;
  }
  SSL *ssl = SSL_new(settings);
  if (!ssl)
    return NULL;
  if (SSL_set_fd(ssl, socket) != 1 || SSL_set_tlsext_host_name(ssl, "localhost") != 1) {
    SSL_free(ssl);
    return NULL;
  }
  SSL_set_connect_state(ssl);
  return (struct bench_tls *)ssl;
}

// As send(2) and recv(2) say it.
static long result(SSL *ssl, int returned, size_t count) {
  if (returned == 1)
    return (long)count;
  switch (SSL_get_error(ssl, returned)) {
  case SSL_ERROR_WANT_READ:
  case SSL_ERROR_WANT_WRITE:
    errno = EAGAIN;
    return -1;
  case SSL_ERROR_ZERO_RETURN:
    return 0;
  case SSL_ERROR_SYSCALL:
    if (errno == 0)
      errno = ECONNRESET;
    return -1;
  default:
    errno = EPROTO;
    return -1;
  }
}

long bench_tls_send(struct bench_tls *tls, const void *bytes, unsigned long count) {
  size_t sent = 0;
  ERR_clear_error();
  errno = 0;
  int returned = SSL_write_ex((SSL *)tls, bytes, count, &sent);
  return result((SSL *)tls, returned, sent);
}

long bench_tls_receive(struct bench_tls *tls, void *bytes, unsigned long count) {
  size_t received = 0;
  ERR_clear_error();
  errno = 0;
  int returned = SSL_read_ex((SSL *)tls, bytes, count, &received);
  return result((SSL *)tls, returned, received);
}

void bench_tls_end(struct bench_tls *tls) {
  ERR_clear_error();
  SSL_shutdown((SSL *)tls);
  SSL_free((SSL *)tls);
}
