// The bytes of one connection: TCP, and TLS over it.
#ifndef SIGHTLINE_TRANSPORT_HPP
#define SIGHTLINE_TRANSPORT_HPP

#include "sightline.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace sightline {

class Transport {
public:
  virtual ~Transport() = default;
  // Looks the name up and makes the connection; waits, so that it has a thread of its own. OPEN, or why it is not. Nothing else is called before it
  // returns.
  virtual SightlineSocketState connect(const char *host, uint16_t port) = 0;
  // Takes some of the bytes and says how many; 0: no room now, and the next call must offer the same bytes; -1: the connection has ended.
  virtual std::ptrdiff_t write(const uint8_t *bytes, std::size_t length) = 0;
  // At most `size` received bytes; 0: none now; -1: the connection has ended.
  virtual std::ptrdiff_t read(uint8_t *bytes, std::size_t size) = 0;
  // Says that no more comes; what was written still goes out.
  virtual void finish() = 0;
  // Drops the connection: the far end hears of it by a reset, and forgets it at once.
  virtual void reset() = 0;
};

// For TCP alone. Null: no memory.
std::unique_ptr<Transport> make_tcp();

// For TLS. Null: no memory, or no TLS in this build.
std::unique_ptr<Transport> make_tls();

// Name, TCP and TLS, each: what the pusher gives all of them together, by its default.
constexpr uint32_t CONNECT_TIMEOUT_MS = 10000;

// Of sockets, for both.
namespace socket_of {
// A connected socket that does not block, or -1, and why in `state`.
int connect(const char *host, uint16_t port, SightlineSocketState &state);
void do_not_block(int descriptor);
void finish(int descriptor);
// Whoever closes it then, closes it with a reset: with lwIP where CONFIG_LWIP_SO_LINGER is set, otherwise with an end like any other.
void reset_on_close(int descriptor);
std::ptrdiff_t outcome(std::ptrdiff_t bytes, bool is_end_at_zero);
} // namespace socket_of

} // namespace sightline

#endif
