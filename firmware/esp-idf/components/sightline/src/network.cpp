// The port of stream_pusher.hpp: one connection for each pusher. What may wait (the name, TCP, the handshake of TLS) is done by a thread for each attempt, so
// that the pusher's never does; that thread ends when the attempt is decided.
#include "board.hpp"
#include "thread.hpp"
#include "transport.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <pthread.h>
#include <string>

namespace sightline {

namespace {

// Attempts at once: one that is wanted, and those that were abandoned and still wait for their name or their TCP. Each has a stack.
constexpr int ATTEMPTS_MAX = 3;
// What a handshake takes with mbedTLS, as ESP-IDF's own examples have it, and a look-up's buffers.
constexpr std::size_t ATTEMPT_STACK_BYTES = 10 * 1024;
// Below the pusher: a handshake must not stop a stream.
constexpr int ATTEMPT_PRIORITY = 4;
// Goes to TCP or TLS at once: a chunk of 4,096 bytes with its header, twice.
constexpr std::size_t OUTGOING_BYTES = 8 * 1024;
// Shorter writes wait for what follows in the same turn: chunk headers have up to 18 bytes, and would be a segment or a record each.
constexpr std::size_t SMALL_BYTES = 64;

std::atomic<int> attempts{0};

struct Attempt {
  std::string host;
  uint16_t port = 0;
  std::unique_ptr<Transport> transport;
  // Written once by the attempt's thread; the transport is its until then.
  std::atomic<SightlineSocketState> state{SIGHTLINE_SOCKET_STATE_OPENING};
};

void *run(void *given) {
  std::unique_ptr<std::shared_ptr<Attempt>> held(static_cast<std::shared_ptr<Attempt> *>(given));
  Attempt &attempt = **held;
  const SightlineSocketState state = attempt.transport->connect(attempt.host.c_str(), attempt.port);
  attempt.state.store(state, std::memory_order_release);
  // An abandoned one ends here, with its connection.
  held.reset();
  attempts.fetch_sub(1);
  return nullptr;
}

class Network {
public:
  ~Network() { close(); }

  void open(const char *host, uint16_t port, bool with_tls) {
    close();
    failure_ = with_tls ? SIGHTLINE_SOCKET_STATE_TLS_FAILED : SIGHTLINE_SOCKET_STATE_CONNECT_FAILED;
    auto attempt = std::make_shared<Attempt>();
    attempt->host = host;
    attempt->port = port;
    attempt->transport = with_tls ? make_tls() : make_tcp();
    auto *given = new (std::nothrow) std::shared_ptr<Attempt>(attempt);
    if (attempt->transport == nullptr || given == nullptr) {
      delete given;
      return;
    }
    if (attempts.fetch_add(1) >= ATTEMPTS_MAX) {
      attempts.fetch_sub(1);
      delete given;
      failure_ = SIGHTLINE_SOCKET_STATE_CONNECT_FAILED;
      return;
    }
    shape_next_thread(ThreadShape{"sl_connect", ATTEMPT_STACK_BYTES, ATTEMPT_PRIORITY, -1});
    pthread_t thread;
    if (pthread_create(&thread, nullptr, run, given) != 0) {
      attempts.fetch_sub(1);
      delete given;
      return;
    }
    pthread_detach(thread);
    attempt_ = std::move(attempt);
  }

  SightlineSocketState state() {
    if (attempt_ == nullptr) {
      return failure_;
    }
    const SightlineSocketState state = attempt_->state.load(std::memory_order_acquire);
    if (state == SIGHTLINE_SOCKET_STATE_OPEN) {
      forget_last();
      flush();
    }
    return state;
  }

  std::ptrdiff_t send(const uint8_t *bytes, std::size_t length) {
    std::size_t taken = 0;
    while (is_open() && taken < length) {
      // A part that TCP or TLS did not take is offered again as it was: TLS has made a record of it.
      if (is_full_ && !flush()) {
        break;
      }
      const std::size_t part = std::min(length - taken, outgoing_.size() - filled_);
      std::memcpy(outgoing_.data() + filled_, bytes + taken, part);
      filled_ += part;
      taken += part;
      if (filled_ >= SMALL_BYTES) {
        flush();
      }
    }
    return is_open() ? static_cast<std::ptrdiff_t>(taken) : -1;
  }

  // Also of a connection that takes no more: what the server said last is still to be read.
  std::ptrdiff_t receive(uint8_t *bytes, std::size_t size) {
    return state() == SIGHTLINE_SOCKET_STATE_OPEN ? attempt_->transport->read(bytes, size) : -1;
  }

  // The far end hears that no more comes, after what was taken. If the link is what failed it hears nothing, and a server keeps the stream's name: the connection is kept
  // until another one is there, and then reset over it.
  void close() {
    failure_ = SIGHTLINE_SOCKET_STATE_CLOSED;
    if (is_open()) {
      flush();
      attempt_->transport->finish();
      forget_last();
      last_ = std::move(attempt_);
    }
    attempt_.reset();
    filled_ = sent_ = 0;
    is_full_ = is_broken_ = false;
  }

private:
  bool is_open() const {
    return attempt_ != nullptr && !is_broken_ && attempt_->state.load(std::memory_order_acquire) == SIGHTLINE_SOCKET_STATE_OPEN;
  }

  void forget_last() {
    if (last_ != nullptr) {
      last_->transport->reset();
    }
    last_.reset();
  }

  // True: nothing is left.
  bool flush() {
    while (is_open() && sent_ < filled_) {
      const std::ptrdiff_t written = attempt_->transport->write(outgoing_.data() + sent_, filled_ - sent_);
      is_full_ = written == 0;
      is_broken_ = written < 0;
      if (written <= 0) {
        return false;
      }
      sent_ += static_cast<std::size_t>(written);
    }
    filled_ = sent_ = 0;
    is_full_ = false;
    return true;
  }

  std::shared_ptr<Attempt> attempt_;
  std::shared_ptr<Attempt> last_;
  SightlineSocketState failure_ = SIGHTLINE_SOCKET_STATE_CLOSED;
  std::array<uint8_t, OUTGOING_BYTES> outgoing_;
  std::size_t filled_ = 0;
  std::size_t sent_ = 0;
  bool is_full_ = false;
  bool is_broken_ = false;
};

Network &of(void *context) { return *static_cast<Network *>(context); }

} // namespace

} // namespace sightline

using sightline::Network;

extern "C" bool sightline_port_create(SightlinePlatform *port) {
  auto *network = new (std::nothrow) Network;
  if (network == nullptr) {
    return false;
  }
  *port = SightlinePlatform{};
  port->struct_size = sizeof *port;
  port->context = network;
  port->clock_us = [](void *) { return sightline::clock_us(); };
  port->wall_clock_us = [](void *) { return sightline::wall_clock_us(); };
  port->random = [](void *) { return sightline::random_bits(); };
  port->socket_open = [](void *context, const char *host, uint16_t port_number, bool with_tls) {
    sightline::of(context).open(host, port_number, with_tls);
  };
  port->socket_state = [](void *context) { return static_cast<uint32_t>(sightline::of(context).state()); };
  port->socket_send = [](void *context, const uint8_t *bytes, size_t length) { return sightline::of(context).send(bytes, length); };
  port->socket_recv = [](void *context, uint8_t *bytes, size_t size) { return sightline::of(context).receive(bytes, size); };
  port->socket_close = [](void *context) { sightline::of(context).close(); };
  // lwIP does not report what the far end has acknowledged (no TCP_INFO, no TIOCOUTQ): RTMP's own acknowledgements drive the rate.
  port->socket_unacknowledged = nullptr;
  return true;
}

extern "C" void sightline_port_destroy(SightlinePlatform *port) {
  delete static_cast<Network *>(port->context);
  *port = SightlinePlatform{};
}
