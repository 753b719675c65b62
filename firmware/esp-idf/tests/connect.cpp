// The port's states: what a name without an address, a port that nobody listens on, TLS that is not there, and a server that answers look like.
//
//     connect NOBODYS_PORT SERVERS_PORT
#include "board.hpp"
#include "sightline.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

extern "C" bool sightline_port_create(SightlinePlatform *port);
extern "C" void sightline_port_destroy(SightlinePlatform *port);

static uint32_t decided(const SightlinePlatform &port) {
  uint32_t state = port.socket_state(port.context);
  while (state == SIGHTLINE_SOCKET_STATE_OPENING) {
    usleep(1000);
    state = port.socket_state(port.context);
  }
  return state;
}

static uint32_t outcome(const SightlinePlatform &port, const char *host, uint16_t number, bool with_tls) {
  port.socket_open(port.context, host, number, with_tls);
  return decided(port);
}

int main(int, char **words) {
  const auto nobodys = static_cast<uint16_t>(std::atoi(words[1])), servers = static_cast<uint16_t>(std::atoi(words[2]));
  SightlinePlatform port{};
  if (!sightline_port_create(&port)) {
    return 1;
  }
  std::printf("report: {\"before\":%u", port.socket_state(port.context));
  std::printf(",\"no_name\":%u", outcome(port, "no-such-name.invalid", 1935, false));
  std::printf(",\"nobody\":%u", outcome(port, "127.0.0.1", nobodys, false));
  std::printf(",\"no_tls\":%u", outcome(port, "127.0.0.1", servers, true));
  std::printf(",\"server\":%u", outcome(port, "127.0.0.1", servers, false));
  // Twenty small writes, and then a large one: all arrive, in their order.
  std::size_t sent = 0;
  for (int count = 0; count < 20; count++) {
    sent += static_cast<std::size_t>(port.socket_send(port.context, reinterpret_cast<const uint8_t *>("0123456789"), 10));
  }
  static uint8_t large[3000000];
  std::memset(large, 'x', sizeof large);
  for (std::size_t at = 0; at < sizeof large;) {
    const ptrdiff_t taken = port.socket_send(port.context, large + at, sizeof large - at);
    if (taken < 0) {
      return 2;
    }
    at += static_cast<std::size_t>(taken);
    sent += static_cast<std::size_t>(taken);
    usleep(taken == 0 ? 1000 : 0);
  }
  sent += static_cast<std::size_t>(port.socket_send(port.context, reinterpret_cast<const uint8_t *>("end"), 3));
  // What the server answers to the end.
  char answer[8] = {};
  ptrdiff_t received = 0;
  while (received == 0) {
    port.socket_state(port.context);
    received = port.socket_recv(port.context, reinterpret_cast<uint8_t *>(answer), sizeof answer - 1);
    usleep(1000);
  }
  std::printf(",\"sent\":%zu,\"answer\":\"%s\"", sent, answer);
  port.socket_close(port.context);
  std::printf(",\"closed\":%u", port.socket_state(port.context));
  sightline_port_destroy(&port);
  std::printf("}\n");
}
