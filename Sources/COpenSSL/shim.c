#include "COpenSSL.h"

#include <errno.h>
#include <sys/prctl.h>

const char *openssl_dns_name(const GENERAL_NAMES *names, int place, int *length, int *end) {
  *end = place >= sk_GENERAL_NAME_num(names);
  if (*end) return NULL;
  const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, place);
  if (name->type != GEN_DNS) return NULL;
  *length = ASN1_STRING_length(name->d.dNSName);
  return (const char *)ASN1_STRING_get0_data(name->d.dNSName);
}

int openssl_forbid_dumps(void) { return prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) == 0 ? 0 : errno; }
int openssl_may_dump(void) { return prctl(PR_GET_DUMPABLE, 0L, 0L, 0L, 0L) != 0; }
void openssl_allow_dumps(void) { prctl(PR_SET_DUMPABLE, 1L, 0L, 0L, 0L); }
