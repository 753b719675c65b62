/* What Sightline uses of components/esp-tls/esp_tls.h and esp_tls_errors.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "esp_err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ESP_ERR_ESP_TLS_CANNOT_RESOLVE_HOSTNAME 0x8001
#define ESP_ERR_ESP_TLS_CANNOT_CREATE_SOCKET 0x8002
#define ESP_ERR_ESP_TLS_FAILED_CONNECT_TO_HOST 0x8004
#define ESP_ERR_ESP_TLS_CONNECTION_TIMEOUT 0x8006
/* mbedTLS's own numbers. */
#define ESP_TLS_ERR_SSL_WANT_READ -0x6900
#define ESP_TLS_ERR_SSL_WANT_WRITE -0x6880

typedef struct esp_tls esp_tls_t;
typedef struct esp_tls_last_error *esp_tls_error_handle_t;

/* Of its fields those that are used; the others are zero. */
typedef struct esp_tls_cfg {
  const unsigned char *cacert_buf;
  unsigned int cacert_bytes;
  bool non_block;
  int timeout_ms;
  esp_err_t (*crt_bundle_attach)(void *conf);
} esp_tls_cfg_t;

#ifdef __cplusplus
extern "C" {
#endif
esp_tls_t *esp_tls_init(void);
int esp_tls_conn_new_sync(const char *hostname, int hostlen, int port, const esp_tls_cfg_t *cfg, esp_tls_t *tls);
ssize_t esp_tls_conn_write(esp_tls_t *tls, const void *data, size_t datalen);
ssize_t esp_tls_conn_read(esp_tls_t *tls, void *data, size_t datalen);
int esp_tls_conn_destroy(esp_tls_t *tls);
esp_err_t esp_tls_get_conn_sockfd(esp_tls_t *tls, int *sockfd);
esp_err_t esp_tls_get_error_handle(esp_tls_t *tls, esp_tls_error_handle_t *error_handle);
esp_err_t esp_tls_get_and_clear_last_error(esp_tls_error_handle_t h, int *esp_tls_code, int *esp_tls_flags);
#ifdef __cplusplus
}
#endif
