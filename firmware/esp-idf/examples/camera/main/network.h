/* The way to the network: ethernet.c or wifi.c, as menuconfig says. */
#ifndef NETWORK_H
#define NETWORK_H

#include "esp_err.h"

/* Begins to connect, and connects again for ever. The default event loop tells when there is an address. */
esp_err_t network_start(void);

#endif
