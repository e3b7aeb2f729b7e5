// OpenSSL 3 as Swift needs it: its headers, and the macros that Swift cannot import as functions of their name.
//
// <features.h> comes first and no feature macro is defined here, as in CLibUring.h, for the same reason.
#ifndef URING_RAWLOG_COPENSSL_H
#define URING_RAWLOG_COPENSSL_H

#include <features.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "OpenSSL 3.0 or newer is needed"
#endif

static const uint64_t openssl_op_no_compression = SSL_OP_NO_COMPRESSION;
static const uint64_t openssl_op_no_renegotiation = SSL_OP_NO_RENEGOTIATION;
static const uint64_t openssl_op_cipher_server_preference = SSL_OP_CIPHER_SERVER_PREFERENCE;
static const uint64_t openssl_op_prioritize_chacha = SSL_OP_PRIORITIZE_CHACHA;
/// How a name in a certificate is written: as RFC 2253 has it, everything escaped that is no plain ASCII.
static const unsigned long openssl_name_rfc2253 = XN_FLAG_RFC2253;

static inline void openssl_set_mode(SSL_CTX *settings, long mode) { SSL_CTX_set_mode(settings, mode); }
static inline void openssl_set_session_cache_mode(SSL_CTX *settings, long mode) {
  SSL_CTX_set_session_cache_mode(settings, mode);
}
static inline int openssl_set_versions(SSL_CTX *settings, int oldest, int newest) {
  return SSL_CTX_set_min_proto_version(settings, oldest) == 1 && SSL_CTX_set_max_proto_version(settings, newest) == 1;
}
static inline int openssl_set_groups(SSL_CTX *settings, const char *list) {
  return (int)SSL_CTX_set1_groups_list(settings, list);
}
static inline void openssl_set_server_name_callback(SSL_CTX *settings, int (*callback)(SSL *, int *, void *)) {
  SSL_CTX_set_tlsext_servername_callback(settings, callback);
}
static inline int openssl_set_server_name(SSL *ssl, const char *name) {
  return (int)SSL_set_tlsext_host_name(ssl, name);
}
/// A place for something of ours beside the settings, and what frees it.
static inline int openssl_new_index(CRYPTO_EX_free *release) {
  return SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, release);
}
/// Bytes of the keys that tickets are sealed with.
static inline long openssl_ticket_keys_size(SSL_CTX *settings) {
  return SSL_CTX_get_tlsext_ticket_keys(settings, NULL, 0);
}
static inline int openssl_set_ticket_keys(SSL_CTX *settings, void *keys, long size) {
  return (int)SSL_CTX_set_tlsext_ticket_keys(settings, keys, size);
}

static inline void openssl_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }
static inline void openssl_set_retry_read(BIO *bio) { BIO_set_retry_read(bio); }

// Lists of certificates: OpenSSL's macros for lists of a type.
static inline STACK_OF(X509) *openssl_certificates_new(void) { return sk_X509_new_null(); }
static inline int openssl_certificates_append(STACK_OF(X509) *list, X509 *certificate) {
  return sk_X509_push(list, certificate);
}
static inline int openssl_certificates_count(const STACK_OF(X509) *list) { return sk_X509_num(list); }
static inline X509 *openssl_certificates_at(const STACK_OF(X509) *list, int place) {
  return sk_X509_value(list, place);
}
static inline void openssl_certificates_free(STACK_OF(X509) *list) { sk_X509_pop_free(list, X509_free); }

// Keys, whose functions are macros with a variable number of arguments.
static inline EVP_PKEY *openssl_new_ec_key(void) { return EVP_EC_gen("P-256"); }
static inline EVP_PKEY *openssl_new_rsa_key(void) { return EVP_RSA_gen(2048); }

/// The DNS name at `place` among the names that a certificate is for, or NULL where there is none or another kind.
/// `end` is set when the list has no such place.
const char *openssl_dns_name(const GENERAL_NAMES *names, int place, int *length, int *end);

/// No core file of this process, and nobody but root may look into it (prctl(2), PR_SET_DUMPABLE): 0 or an errno.
int openssl_forbid_dumps(void);
/// Whether that is so; `openssl_allow_dumps` takes it back (a sanitizer's search for leaks looks into the process).
int openssl_may_dump(void);
void openssl_allow_dumps(void);

#endif
