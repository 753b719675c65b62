#include "posix_platform.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

SightlinePosix &of(void *context) { return *static_cast<SightlinePosix *>(context); }

int64_t micros(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1000000 + now.tv_nsec / 1000;
}

void close_socket(void *context) {
  SightlinePosix &posix = of(context);
  if (posix.descriptor >= 0) {
    close(posix.descriptor);
  }
  posix.descriptor = -1;
  posix.state = SIGHTLINE_SOCKET_STATE_CLOSED;
}

// A name that is no address is looked up here, which may take the resolver's time: a chip's stack has a call that does not wait.
void open_socket(void *context, const char *host, uint16_t port, bool with_tls) {
  close_socket(context);
  SightlinePosix &posix = of(context);
  if (with_tls) {
    posix.state = SIGHTLINE_SOCKET_STATE_TLS_FAILED;
    return;
  }
  char service[8];
  std::snprintf(service, sizeof service, "%u", unsigned{port});
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo *found = nullptr;
  if (getaddrinfo(host, service, &hints, &found) != 0) {
    posix.state = SIGHTLINE_SOCKET_STATE_DNS_FAILED;
    return;
  }
  posix.state = SIGHTLINE_SOCKET_STATE_CONNECT_FAILED;
  posix.descriptor = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (posix.descriptor >= 0 && (connect(posix.descriptor, found->ai_addr, found->ai_addrlen) == 0 || errno == EINPROGRESS)) {
    posix.state = SIGHTLINE_SOCKET_STATE_OPENING;
  }
  freeaddrinfo(found);
}

uint32_t socket_state(void *context) {
  SightlinePosix &posix = of(context);
  if (posix.state == SIGHTLINE_SOCKET_STATE_OPENING) {
    pollfd waiting{posix.descriptor, POLLOUT, 0};
    if (poll(&waiting, 1, 0) == 1) {
      int problem = 0;
      socklen_t size = sizeof problem;
      getsockopt(posix.descriptor, SOL_SOCKET, SO_ERROR, &problem, &size);
      posix.state = problem == 0 ? SIGHTLINE_SOCKET_STATE_OPEN : SIGHTLINE_SOCKET_STATE_CONNECT_FAILED;
    }
  }
  return posix.state;
}

ptrdiff_t outcome(ssize_t bytes, bool is_end_at_zero) {
  if (bytes > 0) {
    return bytes;
  }
  if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    return 0;
  }
  return bytes == 0 && !is_end_at_zero ? 0 : -1;
}

ptrdiff_t send_bytes(void *context, const uint8_t *bytes, size_t length) {
  return outcome(send(of(context).descriptor, bytes, length, MSG_NOSIGNAL), false);
}

ptrdiff_t receive_bytes(void *context, uint8_t *bytes, size_t size) {
  return outcome(recv(of(context).descriptor, bytes, size, 0), true);
}

// What the far end has acknowledged: what is sent and not acknowledged is still in the kernel's send queue.
int64_t unacknowledged(void *context) {
  int waiting = 0;
  return ioctl(of(context).descriptor, SIOCOUTQ, &waiting) == 0 ? waiting : -1;
}

uint64_t monotonic(void *) { return static_cast<uint64_t>(micros(CLOCK_MONOTONIC)); }

int64_t wall(void *) { return micros(CLOCK_REALTIME); }

uint64_t random_bits(void *) {
  uint64_t bits = 0;
  return getrandom(&bits, sizeof bits, 0) == sizeof bits ? bits : monotonic(nullptr);
}

void forget(void *, void *) {}

} // namespace

void sightline_posix_init(SightlinePosix *posix, SightlinePlatform *platform) {
  *posix = SightlinePosix{-1, SIGHTLINE_SOCKET_STATE_CLOSED};
  *platform = SightlinePlatform{};
  platform->struct_size = sizeof *platform;
  platform->context = posix;
  platform->clock_us = monotonic;
  platform->wall_clock_us = wall;
  platform->random = random_bits;
  platform->socket_open = open_socket;
  platform->socket_state = socket_state;
  platform->socket_send = send_bytes;
  platform->socket_recv = receive_bytes;
  platform->socket_close = close_socket;
  platform->socket_unacknowledged = unacknowledged;
  platform->release = forget;
}
