/* What Sightline uses of components/sdmmc/include/sdmmc_cmd.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "driver/sdmmc_host.h"
