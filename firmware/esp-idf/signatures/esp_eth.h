/* What Sightline uses of components/esp_eth/include/esp_eth.h, esp_eth_driver.h, esp_eth_mac.h, esp_eth_mac_esp.h, esp_eth_phy.h and esp_eth_netif_glue.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "esp_err.h"

#include <stddef.h>
#include <stdint.h>

typedef void *esp_eth_handle_t;
typedef struct esp_eth_mac_s esp_eth_mac_t;
typedef struct esp_eth_phy_s esp_eth_phy_t;
typedef struct esp_eth_netif_glue_t *esp_eth_netif_glue_handle_t;

/* Their fields, but for those that are used, are filled by the macros. */
typedef struct {
  uint32_t flags;
} eth_mac_config_t;
typedef struct {
  int intr_priority;
} eth_esp32_emac_config_t;
typedef struct {
  int32_t phy_addr;
  int reset_gpio_num;
} eth_phy_config_t;
typedef struct {
  esp_eth_mac_t *mac;
  esp_eth_phy_t *phy;
} esp_eth_config_t;

#define ETH_MAC_DEFAULT_CONFIG() {.flags = 0}
#define ETH_ESP32_EMAC_DEFAULT_CONFIG() {.intr_priority = 0}
#define ETH_PHY_DEFAULT_CONFIG() {.phy_addr = -1, .reset_gpio_num = 5}
#define ETH_DEFAULT_CONFIG(emac, ephy) {.mac = emac, .phy = ephy}

#ifdef __cplusplus
extern "C" {
#endif
esp_eth_mac_t *esp_eth_mac_new_esp32(const eth_esp32_emac_config_t *esp32_config, const eth_mac_config_t *config);
esp_eth_phy_t *esp_eth_phy_new_generic(const eth_phy_config_t *config);
esp_err_t esp_eth_driver_install(const esp_eth_config_t *config, esp_eth_handle_t *out_hdl);
esp_err_t esp_eth_start(esp_eth_handle_t hdl);
esp_eth_netif_glue_handle_t esp_eth_new_netif_glue(esp_eth_handle_t eth_hdl);
#ifdef __cplusplus
}
#endif
