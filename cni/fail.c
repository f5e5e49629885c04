/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recording a failure for the CNI error object on standard output. */
#include "cni/fail.h"

#include <stdarg.h>
#include <stdio.h>

void fail_record(struct fail *f, enum fail_code code, const char *fmt, ...)
{
	va_list ap;

	f->code = code;
	va_start(ap, fmt);
	vsnprintf(f->msg, sizeof(f->msg), fmt, ap);
	va_end(ap);
}
