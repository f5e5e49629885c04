// SPDX-License-Identifier: GPL-2.0-or-later
/* Statuses, worded as Kubernetes words them. */
#include "apiserver/http/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

const char *status_resource_name(const struct schema_resource *resource, char out[static 256])
{
	if (str_empty(resource->group))
		snprintf(out, 256, "%s", resource->plural);
	else
		snprintf(out, 256, "%s.%s", resource->plural, resource->group);
	return out;
}

/* A JSON string even when the text is not UTF-8 (bytes a client sent): the broken bytes become question marks. */
static json_t *text_value(const char *s)
{
	json_t *v = json_string(s);
	if (v)
		return v;
	char *copy = mem_strdup(s);
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	v = json_string(copy);
	free(copy);
	return v;
}

static json_t *status_va(const struct schema_resource *resource, const char *name, int code, const char *reason,
			 const char *fmt, va_list ap)
{
	_cleanup_strbuf_ struct strbuf message = { 0 };
	json_t *s = json_object();
	strbuf_vaddf(&message, fmt, ap);
	json_object_set_new(s, "kind", json_string("Status"));
	json_object_set_new(s, "apiVersion", json_string("v1"));
	json_object_set_new(s, "metadata", json_object());
	json_object_set_new(s, "status", json_string("Failure"));
	json_object_set_new(s, "message", text_value(message.data ? message.data : ""));
	if (reason)
		json_object_set_new(s, "reason", json_string(reason));
	if (resource || name) {
		json_t *details = json_object();
		if (!str_empty(name))
			json_object_set_new(details, "name", text_value(name));
		if (resource && !str_empty(resource->group))
			json_object_set_new(details, "group", json_string(resource->group));
		if (resource)
			json_object_set_new(details, "kind", json_string(resource->plural));
		json_object_set_new(s, "details", details);
	}
	json_object_set_new(s, "code", json_integer(code));
	return s;
}

json_t *status_new(int code, const char *reason, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	json_t *s = status_va(NULL, NULL, code, reason, fmt, ap);
	va_end(ap);
	return s;
}

json_t *status_for(const struct schema_resource *resource, const char *name, int code, const char *reason, const char *fmt,
		   ...)
{
	va_list ap;
	va_start(ap, fmt);
	json_t *s = status_va(resource, name, code, reason, fmt, ap);
	va_end(ap);
	return s;
}

json_t *status_bad_request(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	json_t *s = status_va(NULL, NULL, 400, "BadRequest", fmt, ap);
	va_end(ap);
	return s;
}

json_t *status_internal(const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	json_t *s = status_new(500, "InternalError", "Internal error occurred: %s", text.data ? text.data : "");
	status_add_cause(s, NULL, text.data ? text.data : "", NULL);
	return s;
}

json_t *status_not_found(const struct schema_resource *resource, const char *name)
{
	char what[256];
	return status_for(resource, name, 404, "NotFound", "%s \"%s\" not found", status_resource_name(resource, what), name);
}

json_t *status_exists(const struct schema_resource *resource, const char *name)
{
	char what[256];
	return status_for(resource, name, 409, "AlreadyExists", "%s \"%s\" already exists",
			  status_resource_name(resource, what), name);
}

json_t *status_conflict(const struct schema_resource *resource, const char *name, const char *text)
{
	char what[256];
	if (!text)
		text = "the object has been modified; please apply your changes to the latest version and try again";
	return status_for(resource, name, 409, "Conflict", "Operation cannot be fulfilled on %s \"%s\": %s",
			  status_resource_name(resource, what), name, text);
}

json_t *status_forbidden(const struct schema_resource *resource, const char *name, const char *text)
{
	char what[256] = "";
	if (resource)
		status_resource_name(resource, what);
	if (str_empty(name))
		return status_for(resource, NULL, 403, "Forbidden", "%s is forbidden: %s", what, text);
	return status_for(resource, name, 403, "Forbidden", "%s \"%s\" is forbidden: %s", what, name, text);
}

json_t *status_method_not_allowed(const struct schema_resource *resource)
{
	json_t *s = status_for(resource, NULL, 405, "MethodNotAllowed",
			       "the server does not allow this method on the requested resource");
	if (!resource)
		json_object_set_new(s, "details", json_object());
	return s;
}

json_t *status_from_err(const struct err *err)
{
	if (!err->http_status)
		return status_internal("%s", err_msg(err));
	return status_new(err->http_status, err->reason, "%s", err_msg(err));
}

static json_t *details_of(json_t *status)
{
	json_t *details = json_object_get(status, "details");
	if (details)
		return details;
	details = json_object();
	json_object_set_new(status, "details", details);
	/* "code" stays last, as upstream writes it. */
	json_t *code = json_incref(json_object_get(status, "code"));
	json_object_del(status, "code");
	if (code)
		json_object_set_new(status, "code", code);
	return details;
}

void status_set_empty_details(json_t *status)
{
	json_object_clear(details_of(status));
}

void status_add_cause(json_t *status, const char *reason, const char *message, const char *field)
{
	json_t *details = details_of(status), *causes = json_object_get(details, "causes"), *cause = json_object();
	if (!causes) {
		causes = json_array();
		json_object_set_new(details, "causes", causes);
	}
	if (reason)
		json_object_set_new(cause, "reason", json_string(reason));
	if (message)
		json_object_set_new(cause, "message", text_value(message));
	if (field)
		json_object_set_new(cause, "field", text_value(field));
	json_array_append_new(causes, cause);
}

void status_set_retry(json_t *status, int seconds)
{
	json_object_set_new(details_of(status), "retryAfterSeconds", json_integer(seconds));
}

int status_code(const json_t *status)
{
	json_int_t code = json_integer_value(json_object_get(status, "code"));
	return code >= 100 && code <= 599 ? (int)code : 500;
}

json_t *status_success(const struct schema_resource *resource, const char *name, const char *uid)
{
	json_t *s = json_object(), *details = json_object();
	json_object_set_new(s, "kind", json_string("Status"));
	json_object_set_new(s, "apiVersion", json_string("v1"));
	json_object_set_new(s, "metadata", json_object());
	json_object_set_new(s, "status", json_string("Success"));
	if (!str_empty(name))
		json_object_set_new(details, "name", json_string(name));
	if (resource && !str_empty(resource->group))
		json_object_set_new(details, "group", json_string(resource->group));
	if (resource)
		json_object_set_new(details, "kind", json_string(resource->plural));
	if (!str_empty(uid))
		json_object_set_new(details, "uid", json_string(uid));
	if (json_object_size(details))
		json_object_set_new(s, "details", details);
	else
		json_decref(details);
	return s;
}
