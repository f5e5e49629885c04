/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CronJobs: schedules in the words of the library that Kubernetes reads them with, time zones, the Job's template. */
#include "apiserver/validate/validate_job.h"

#include <ctype.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const *const cron_names[] = {
	NULL,
	NULL,
	NULL,
	(const char *const[]){ "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
			       NULL },
	(const char *const[]){ "sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL },
};
static const int cron_min[] = { 0, 0, 1, 1, 0 }, cron_max[] = { 59, 23, 31, 12, 6 };

/* One number or name of a field; -1 when it is neither. */
static int cron_number(const char *s, size_t len, int field)
{
	_cleanup_free_ char *text = mem_strndup(s, len);
	uint64_t n;

	for (char *c = text; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	for (int i = 0; cron_names[field] && cron_names[field][i]; i++)
		if (strcmp(cron_names[field][i], text) == 0)
			return i + cron_min[field];
	return str_to_u64(text, 1000000, &n) < 0 ? -1 : (int)n;
}

/* "*", "?", "a", "a-b", each with "/step". NULL when right, else what is wrong (own). */
static char *cron_part(const char *part, int field)
{
	_cleanup_strlist_ struct strlist steps = {0};
	const char *range, *dash;
	int from, to;
	uint64_t step;

	strlist_split(&steps, part, '/');
	if (steps.count == 0 || steps.count > 2)
		return str_printf("too many slashes: %s", part);
	range = steps.items[0];
	dash = strchr(range, '-');
	if (strcmp(range, "*") == 0 || strcmp(range, "?") == 0) {
		from = cron_min[field];
		to = cron_max[field];
	} else {
		if (dash && strchr(dash + 1, '-'))
			return str_printf("too many hyphens: %s", part);
		from = cron_number(range, dash ? (size_t)(dash - range) : strlen(range), field);
		to = dash ? cron_number(dash + 1, strlen(dash + 1), field) : steps.count == 2 ? cron_max[field] : from;
	}
	if (from < 0 || to < 0)
		return str_printf("failed to parse int from %s: strconv.Atoi: parsing \"%s\": invalid syntax", range,
				  range);
	if (steps.count == 2 && (str_to_u64(steps.items[1], 1000000, &step) < 0 || step == 0))
		return str_printf("step of range should be a positive number: %s", part);
	if (from < cron_min[field])
		return str_printf("beginning of range (%d) below minimum (%d): %s", from, cron_min[field], part);
	if (to > cron_max[field])
		return str_printf("end of range (%d) above maximum (%d): %s", to, cron_max[field], part);
	if (from > to)
		return str_printf("beginning of range (%d) beyond end of range (%d): %s", from, to, part);
	return NULL;
}

/* NULL when the schedule is right, else the words of the cron library (own). */
static char *cron_check(const char *schedule)
{
	static const char *const descriptors[] = { "@yearly", "@annually", "@monthly", "@weekly",
						   "@daily",  "@midnight", "@hourly",  NULL };
	_cleanup_strlist_ struct strlist fields = {0};
	_cleanup_free_ char *blanks = mem_strdup(schedule);

	if (*schedule == '@') {
		const char *every = str_after(schedule, "@every ");

		if (one_of(schedule, descriptors) ||
		    (every && isdigit((unsigned char)*every) && isalpha((unsigned char)every[strlen(every) - 1])))
			return NULL;
		return str_printf("unrecognized descriptor: %s", schedule);
	}
	for (char *c = blanks; *c; c++)
		if (isspace((unsigned char)*c))
			*c = ' ';
	strlist_split(&fields, blanks, ' ');
	if (fields.count != 5) {
		_cleanup_strbuf_ struct strbuf list = {0};

		for (size_t i = 0; i < fields.count; i++)
			strbuf_addf(&list, "%s%s", i ? " " : "", fields.items[i]);
		return str_printf("expected exactly 5 fields, found %zu: [%s]", fields.count,
				  list.data ? list.data : "");
	}
	for (int f = 0; f < 5; f++) {
		_cleanup_strlist_ struct strlist parts = {0};

		strlist_split(&parts, fields.items[f], ',');
		for (size_t i = 0; i < parts.count; i++) {
			char *wrong = cron_part(parts.items[i], f);

			if (wrong)
				return wrong;
		}
	}
	return NULL;
}

static void check_schedule(const struct validation *v, const struct fpath *p, const json_t *spec)
{
	const char *schedule = get_str(spec, "schedule");
	_cleanup_free_ char *wrong = NULL;

	if (!*schedule) {
		fe_required(v->e, p, NULL);
		return;
	}
	if (strstr(schedule, "TZ")) {
		fe_invalid(v->e, p, schedule, "%s",
			   get(spec, "timeZone") && v->old && strstr(json_str_or(v->old, "spec.schedule", ""), "TZ") ?
				   "cannot use both timeZone field and TZ or CRON_TZ in schedule" :
				   "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
		return;
	}
	wrong = cron_check(schedule);
	if (wrong)
		fe_invalid(v->e, p, schedule, "%s", wrong);
}

/* By the zones of this machine; without them every name is taken. */
static bool known_zone(const char *name)
{
	static const char dir[] = "/usr/share/zoneinfo";
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name);
	struct stat st;

	return strcmp(name, "UTC") == 0 || access(dir, X_OK) < 0 || (stat(path, &st) == 0 && S_ISREG(st.st_mode));
}

static void check_time_zone(const struct validation *v, const struct fpath *p, const json_t *zone)
{
	const char *s = json_string_value(zone);
	_cleanup_strlist_ struct strlist parts = {0};

	if (!zone || (v->old && json_equal(zone, json_at(v->old, "spec.timeZone"))))
		return;
	if (!*s) {
		fe_invalid(v->e, p, s, "timeZone must be nil or non-empty string");
		return;
	}
	strlist_split(&parts, s, '/');
	for (size_t i = 0; i < parts.count; i++) {
		const char *part = parts.items[i];
		size_t len = strlen(part);
		bool shape = len <= 14 && strcmp(part, ".") != 0 && strcmp(part, "..") != 0 && *part != '-';

		for (size_t k = 0; k < len; k++)
			shape &= isalnum((unsigned char)part[k]) || strchr("._+-", part[k]);
		if (shape)
			continue;
		fe_invalid(v->e, p, s, "unknown time zone %s", s);
		return;
	}
	if (strcasecmp(s, "Local") == 0)
		fe_invalid(v->e, p, s, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
	else if (!known_zone(s))
		fe_invalid(v->e, p, s, "unknown time zone %s", s);
}

void validate_cron_job(const struct validation *v)
{
	static const char *const counts[] = { "startingDeadlineSeconds", "successfulJobsHistoryLimit",
					      "failedJobsHistoryLimit" };
	const json_t *spec = get(v->object, "spec"), *job = json_at(spec, "jobTemplate.spec");
	const char *name = json_str_or(v->object, "metadata.name", "");
	const struct fpath *p = FP(NULL, "spec"), *at = FP(FP(p, "jobTemplate"), "spec");

	if (!v->old && strlen(name) > 52)
		fe_invalid(v->e, FP(FP(NULL, "metadata"), "name"), name, "must be no more than 52 characters");
	check_schedule(v, FP(p, "schedule"), spec);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		check_non_negative(v->e, FP(p, counts[i]), get(spec, counts[i]));
	check_time_zone(v, FP(p, "timeZone"), get(spec, "timeZone"));
	check_enum(v->e, FP(p, "concurrencyPolicy"), get_str(spec, "concurrencyPolicy"),
		   WORDS("Allow", "Forbid", "Replace"));
	check_job_spec(v->e, at, job);
	if (get(job, "selector"))
		fe_invalid_json(v->e, FP(at, "selector"), get(job, "selector"), "`selector` will be auto-generated");
	if (get_bool(job, "manualSelector"))
		fe_not_supported_text(v->e, FP(at, "manualSelector"), "true", WORDS("nil", "false"));
}
