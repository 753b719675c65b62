// TLS by esp-tls: mbedTLS with the chip's accelerators. RTMPS needs no certificate of the device: its token says who it is.
#include "credentials.hpp"
#include "transport.hpp"

#include "esp_crt_bundle.h"
#include "esp_log.h"
#include "esp_tls.h"

#include <cstring>
#include <new>

namespace sightline {

namespace {

const char *const TAG = "sightline";

class Tls final : public Transport {
public:
  ~Tls() override { reset(); }

  // esp_tls_conn_new_async does not wait for TCP, but does for the name, and a handshake's arithmetic takes the thread that calls it: this has its own
  // thread, and may wait.
  SightlineSocketState connect(const char *host, uint16_t port) override {
    const Credentials &trusted = credentials();
    esp_tls_cfg_t config = {};
    if (trusted.authority != nullptr) {
      config.cacert_buf = reinterpret_cast<const unsigned char *>(trusted.authority);
      // PEM counts its NUL.
      config.cacert_bytes = static_cast<unsigned int>(std::strlen(trusted.authority) + 1);
    } else {
      config.crt_bundle_attach = esp_crt_bundle_attach;
    }
    config.timeout_ms = CONNECT_TIMEOUT_MS;
    tls_ = esp_tls_init();
    if (tls_ == nullptr) {
      return SIGHTLINE_SOCKET_STATE_TLS_FAILED;
    }
    if (esp_tls_conn_new_sync(host, static_cast<int>(std::strlen(host)), port, &config, tls_) != 1) {
      return why();
    }
    const int descriptor = socket();
    if (descriptor < 0) {
      return SIGHTLINE_SOCKET_STATE_TLS_FAILED;
    }
    socket_of::do_not_block(descriptor);
    return SIGHTLINE_SOCKET_STATE_OPEN;
  }

  std::ptrdiff_t write(const uint8_t *bytes, std::size_t length) override { return outcome(esp_tls_conn_write(tls_, bytes, length)); }

  // mbedTLS gives 0 where the far end said goodbye.
  std::ptrdiff_t read(uint8_t *bytes, std::size_t size) override {
    const std::ptrdiff_t received = esp_tls_conn_read(tls_, bytes, size);
    return received == 0 ? -1 : outcome(received);
  }

  void finish() override {
    if (const int descriptor = socket(); descriptor >= 0) {
      socket_of::finish(descriptor);
    }
  }

  void reset() override {
    if (const int descriptor = socket(); descriptor >= 0) {
      socket_of::reset_on_close(descriptor);
    }
    if (tls_ != nullptr) {
      esp_tls_conn_destroy(tls_);
    }
    tls_ = nullptr;
  }

private:
  int socket() const {
    int descriptor = -1;
    return tls_ != nullptr && esp_tls_get_conn_sockfd(tls_, &descriptor) == ESP_OK ? descriptor : -1;
  }

  static std::ptrdiff_t outcome(std::ptrdiff_t bytes) {
    if (bytes >= 0) {
      return bytes;
    }
    return bytes == ESP_TLS_ERR_SSL_WANT_READ || bytes == ESP_TLS_ERR_SSL_WANT_WRITE ? 0 : -1;
  }

  SightlineSocketState why() {
    esp_tls_error_handle_t errors = nullptr;
    int of_mbedtls = 0;
    int flags = 0;
    const esp_err_t error =
        esp_tls_get_error_handle(tls_, &errors) == ESP_OK ? esp_tls_get_and_clear_last_error(errors, &of_mbedtls, &flags) : ESP_FAIL;
    switch (error) {
    case ESP_ERR_ESP_TLS_CANNOT_RESOLVE_HOSTNAME:
      return SIGHTLINE_SOCKET_STATE_DNS_FAILED;
    case ESP_ERR_ESP_TLS_CANNOT_CREATE_SOCKET:
    case ESP_ERR_ESP_TLS_FAILED_CONNECT_TO_HOST:
    case ESP_ERR_ESP_TLS_CONNECTION_TIMEOUT:
      return SIGHTLINE_SOCKET_STATE_CONNECT_FAILED;
    default:
      // Flags as in mbedtls/x509.h: 1 expired, 4 another name, 8 not trusted, 0x200 not valid yet.
      ESP_LOGW(TAG, "TLS failed: esp-tls 0x%x, mbedTLS -0x%x, certificate flags 0x%x", static_cast<unsigned>(error),
               static_cast<unsigned>(of_mbedtls), static_cast<unsigned>(flags));
      return SIGHTLINE_SOCKET_STATE_TLS_FAILED;
    }
  }

  esp_tls_t *tls_ = nullptr;
};

} // namespace

std::unique_ptr<Transport> make_tls() { return std::unique_ptr<Transport>(new (std::nothrow) Tls); }

} // namespace sightline
