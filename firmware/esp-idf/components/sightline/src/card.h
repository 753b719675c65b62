/* The SD card of the board, as a directory. */
#ifndef SIGHTLINE_CARD_H
#define SIGHTLINE_CARD_H

#include "esp_err.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where the card is. */
#define SIGHTLINE_CARD_PATH "/sdcard"
/* Where the recording is on it. */
#define SIGHTLINE_RECORDING_PATH SIGHTLINE_CARD_PATH "/REC"

/* Mounts the card, FAT as cards come, and makes the directory of the recording. It is never formatted. ESP_OK, or what the driver says. */
esp_err_t sightline_card_mount(void);

/* Bytes that are free on it; 0 where it can't be said. */
uint64_t sightline_card_free_bytes(void);

#ifdef __cplusplus
}
#endif
#endif
