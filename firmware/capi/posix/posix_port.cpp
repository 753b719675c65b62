// The port of stream_pusher.hpp for POSIX.
#include "posix_platform.h"

#include <new>

extern "C" bool sightline_port_create(SightlinePlatform *port) {
  auto *posix = new (std::nothrow) SightlinePosix;
  if (posix != nullptr) {
    sightline_posix_init(posix, port);
  }
  return posix != nullptr;
}

extern "C" void sightline_port_destroy(SightlinePlatform *port) {
  if (port->socket_close != nullptr) {
    port->socket_close(port->context);
  }
  delete static_cast<SightlinePosix *>(port->context);
  *port = SightlinePlatform{};
}
