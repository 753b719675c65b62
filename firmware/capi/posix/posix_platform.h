/* A platform of POSIX sockets: for hosts, and as a model for others. It has no TLS. */
#ifndef SIGHTLINE_POSIX_PLATFORM_H
#define SIGHTLINE_POSIX_PLATFORM_H

#include "sightline.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One connection. */
typedef struct SightlinePosix {
  int descriptor;
  uint32_t state;
} SightlinePosix;

/* Fills clock, random and socket of `platform`, and sets all else to null. `posix` is its context, and must outlive the pusher; for functions of
 * your own, put it first into a structure of your own. */
void sightline_posix_init(SightlinePosix *posix, SightlinePlatform *platform);

#ifdef __cplusplus
}
#endif
#endif
