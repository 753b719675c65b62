/* The board's Ethernet: the chip's own MAC with an IP101. */
#include "network.h"

#include "esp_eth.h"
#include "esp_log.h"
#include "esp_netif.h"
#include "sdkconfig.h"

esp_err_t network_start(void) {
  eth_mac_config_t mac_config = ETH_MAC_DEFAULT_CONFIG();
  eth_esp32_emac_config_t emac_config = ETH_ESP32_EMAC_DEFAULT_CONFIG();
  eth_phy_config_t phy_config = ETH_PHY_DEFAULT_CONFIG();
  phy_config.phy_addr = CONFIG_EXAMPLE_ETHERNET_PHY_ADDRESS;
  phy_config.reset_gpio_num = CONFIG_EXAMPLE_ETHERNET_PHY_RESET_GPIO;
  esp_eth_mac_t *mac = esp_eth_mac_new_esp32(&emac_config, &mac_config);
  /* What IEEE 802.3 asks of every PHY is all that is needed; IP101's own driver is not in ESP-IDF 6 any more. */
  esp_eth_phy_t *phy = esp_eth_phy_new_generic(&phy_config);
  if (mac == NULL || phy == NULL) {
    return ESP_ERR_NO_MEM;
  }
  const esp_eth_config_t config = ETH_DEFAULT_CONFIG(mac, phy);
  esp_eth_handle_t driver = NULL;
  esp_err_t error = esp_eth_driver_install(&config, &driver);
  if (error != ESP_OK) {
    ESP_LOGE("network", "no PHY answers at address %d", CONFIG_EXAMPLE_ETHERNET_PHY_ADDRESS);
    return error;
  }
  const esp_netif_config_t netif_config = ESP_NETIF_DEFAULT_ETH();
  esp_netif_t *netif = esp_netif_new(&netif_config);
  error = esp_netif_attach(netif, esp_eth_new_netif_glue(driver));
  return error == ESP_OK ? esp_eth_start(driver) : error;
}
