// libzstd as Swift needs it: its stable interface.
//
// <features.h> comes first and no feature macro is defined here, as in CLibUring.h, for the same reason.
#ifndef URING_RAWLOG_CZSTD_H
#define URING_RAWLOG_CZSTD_H

#include <features.h>
#include <zstd.h>

#endif
