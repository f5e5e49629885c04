/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text that containers made, before it goes into JSON. */
#ifndef KEELSON_AGENT_TEXT_H
#define KEELSON_AGENT_TEXT_H

#include <stddef.h>

/* A copy with every byte that is not part of valid UTF-8 (RFC 3629) replaced by U+FFFD; own. */
char *text_utf8(const char *s);

#endif
