// TCP by BSD sockets: lwIP's on the chip, the system's on a host.
#include "transport.hpp"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <new>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

namespace sightline {

namespace socket_of {

void do_not_block(int descriptor) {
  const int flags = fcntl(descriptor, F_GETFL, 0);
  fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
}

void finish(int descriptor) { shutdown(descriptor, SHUT_WR); }

void reset_on_close(int descriptor) {
  struct linger at_once = {};
  at_once.l_onoff = 1;
  at_once.l_linger = 0;
  setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

std::ptrdiff_t outcome(std::ptrdiff_t bytes, bool is_end_at_zero) {
  if (bytes > 0) {
    return bytes;
  }
  if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    return 0;
  }
  return bytes == 0 && !is_end_at_zero ? 0 : -1;
}

// True: connected within the time.
static bool is_connected_in_time(int descriptor, const sockaddr *address, socklen_t length) {
  if (::connect(descriptor, address, length) == 0) {
    return true;
  }
  if (errno != EINPROGRESS) {
    return false;
  }
  fd_set waiting;
  FD_ZERO(&waiting);
  FD_SET(descriptor, &waiting);
  timeval limit = {};
  limit.tv_sec = CONNECT_TIMEOUT_MS / 1000;
  if (select(descriptor + 1, nullptr, &waiting, nullptr, &limit) != 1) {
    return false;
  }
  int problem = 0;
  socklen_t size = sizeof problem;
  return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &problem, &size) == 0 && problem == 0;
}

int connect(const char *host, uint16_t port, SightlineSocketState &state) {
  char service[8];
  std::snprintf(service, sizeof service, "%u", static_cast<unsigned>(port));
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo *found = nullptr;
  if (getaddrinfo(host, service, &hints, &found) != 0 || found == nullptr) {
    state = SIGHTLINE_SOCKET_STATE_DNS_FAILED;
    return -1;
  }
  int descriptor = -1;
  // A name with an IPv6 address that leads nowhere has an IPv4 address behind it.
  for (const addrinfo *one = found; one != nullptr && descriptor < 0; one = one->ai_next) {
    descriptor = socket(one->ai_family, SOCK_STREAM, 0);
    if (descriptor < 0) {
      break;
    }
    do_not_block(descriptor);
    // What is handed over is a few segments at once already (`Network::send`): waiting for more would only hold a frame's end back.
    const int is_on = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &is_on, sizeof is_on);
    if (!is_connected_in_time(descriptor, one->ai_addr, one->ai_addrlen)) {
      close(descriptor);
      descriptor = -1;
    }
  }
  freeaddrinfo(found);
  state = descriptor >= 0 ? SIGHTLINE_SOCKET_STATE_OPEN : SIGHTLINE_SOCKET_STATE_CONNECT_FAILED;
  return descriptor;
}

} // namespace socket_of

namespace {

class Tcp final : public Transport {
public:
  ~Tcp() override { reset(); }

  SightlineSocketState connect(const char *host, uint16_t port) override {
    SightlineSocketState state = SIGHTLINE_SOCKET_STATE_CONNECT_FAILED;
    descriptor_ = socket_of::connect(host, port, state);
    return state;
  }

  std::ptrdiff_t write(const uint8_t *bytes, std::size_t length) override {
    return socket_of::outcome(send(descriptor_, bytes, length, MSG_NOSIGNAL), false);
  }

  std::ptrdiff_t read(uint8_t *bytes, std::size_t size) override { return socket_of::outcome(recv(descriptor_, bytes, size, 0), true); }

  void finish() override { socket_of::finish(descriptor_); }

  void reset() override {
    if (descriptor_ >= 0) {
      socket_of::reset_on_close(descriptor_);
      close(descriptor_);
    }
    descriptor_ = -1;
  }

private:
  int descriptor_ = -1;
};

} // namespace

std::unique_ptr<Transport> make_tcp() { return std::unique_ptr<Transport>(new (std::nothrow) Tcp); }

} // namespace sightline
