/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Removing our nftables table. */
#ifndef KEELSON_CLI_NFT_H
#define KEELSON_CLI_NFT_H

#include "base/err.h"

/* Deletes a table of family inet with all it holds, in the calling thread's network namespace; a missing one is success. */
int nft_table_delete(const char *table, struct err *err);

#endif
