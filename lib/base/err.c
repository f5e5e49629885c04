/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors with a text, wrapped with context on their way up and logged once, by the daemon. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static void set_message(struct err *err, const char *fmt, va_list ap)
{
	struct strbuf b = { 0 };

	strbuf_vaddf(&b, fmt, ap);
	free(err->message);
	err->message = strbuf_take(&b);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	BUG_ON(code <= 0);
	if (err) {
		va_list ap;

		va_start(ap, fmt);
		set_message(err, fmt, ap);
		va_end(ap);
		err->code = code;
		err->http_status = 0;
		err->reason = NULL;
	}
	return -code;
}

int err_set_api(struct err *err, int http_status, const char *reason, const char *fmt, ...)
{
	static const struct {
		int status, code;
	} codes[] = {
		{ 400, EINVAL }, { 401, EACCES }, { 403, EPERM },   { 404, ENOENT },    { 409, EEXIST },
		{ 410, ESTALE }, { 413, EFBIG },  { 422, EINVAL },  { 429, EBUSY },     { 504, ETIMEDOUT },
	};
	int code = EIO;

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].status == http_status)
			code = codes[i].code;
	if (err) {
		va_list ap;

		va_start(ap, fmt);
		set_message(err, fmt, ap);
		va_end(ap);
		err->code = code;
		err->http_status = http_status;
		err->reason = reason;
	}
	return -code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	if (!err)
		return -EIO;
	struct strbuf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	strbuf_addf(&b, ": %s", err_msg(err));
	free(err->message);
	err->message = strbuf_take(&b);
	return err->code ? -err->code : -EIO;
}

const char *err_msg(const struct err *err)
{
	if (err && err->message)
		return err->message;
	return err && err->code ? strerror(err->code) : "unknown error";
}

void err_done(struct err *err)
{
	free(err->message);
	*err = (struct err){ 0 };
}
