/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kubeconfig files (client-go's clientcmd v1 Config): the current context's cluster and user. Relative paths are relative
 * to the file. Inline certificates and keys become private temporary files, because the TLS library reads files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "kube/client.h"

enum { MAX_CONFIG_BYTES = 4 << 20 };

void kubeconfig_done(struct kubeconfig *k)
{
	for (size_t i = 0; i < k->temporary_files.count; i++)
		unlink(k->temporary_files.items[i]);
	strlist_done(&k->temporary_files);
	free(k->server);
	free(k->ca_file);
	free(k->cert_file);
	free(k->key_file);
	free(k->token);
	free(k->token_file);
	*k = (struct kubeconfig){ 0 };
}

/* The named entry's body: {"clusters": [{"name": N, "cluster": {...}}]}. Borrow, NULL. */
static json_t *entry(const json_t *config, const char *list, const char *name, const char *body)
{
	json_t *e;
	size_t i;

	json_array_foreach(json_object_get(config, list), i, e)
		if (str_eq(json_str(e, "name"), name))
			return json_object_get(e, body);
	return NULL;
}

/* A file named relative to the kubeconfig's directory. Own. */
static char *resolve(const char *config_path, const char *file)
{
	const char *slash = strrchr(config_path, '/');

	if (*file == '/' || !slash)
		return mem_strdup(file);
	return str_printf("%.*s/%s", (int)(slash - config_path), config_path, file);
}

static int write_private(struct kubeconfig *k, const char *base64, char **ret, struct err *err)
{
	static const char *const dirs[] = { NULL, "/run", "/tmp" };
	_cleanup_strbuf_ struct strbuf raw = { 0 };
	int fd = -1;

	if (base64_decode(&raw, base64, strlen(base64)) < 0)
		return err_set(err, EINVAL, "inline certificate data is not base64");
	for (size_t i = 0; i < ARRAY_SIZE(dirs) && fd < 0; i++) {
		const char *dir = dirs[i] ? dirs[i] : getenv("XDG_RUNTIME_DIR");

		if (str_empty(dir))
			continue;
		_cleanup_free_ char *path = str_printf("%s/keelson-XXXXXX", dir);

		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0) {
			strlist_add(&k->temporary_files, path);
			*ret = TAKE(path);
		}
	}
	if (fd < 0)
		return err_set(err, errno, "cannot create a temporary file for inline certificate data: %s", strerror(errno));
	ssize_t n = write(fd, raw.data, raw.len);

	if (close(fd) < 0 || n != (ssize_t)raw.len)
		return err_set(err, EIO, "cannot write %s", *ret);
	return 0;
}

/* file_key names a file, data_key holds base64 and wins. */
static int file_or_data(struct kubeconfig *k, const char *path, const json_t *from, const char *file_key,
			const char *data_key, char **ret, struct err *err)
{
	const char *data = json_str(from, data_key), *file = json_str(from, file_key);

	if (!str_empty(data))
		return write_private(k, data, ret, err);
	if (!str_empty(file))
		*ret = resolve(path, file);
	return 0;
}

static int fill(struct kubeconfig *k, const char *path, const json_t *config, struct err *err)
{
	const char *context_name = json_str_or(config, "current-context", "");
	const json_t *context = entry(config, "contexts", context_name, "context");
	const json_t *cluster = entry(config, "clusters", json_str_or(context, "cluster", ""), "cluster");
	const json_t *user = entry(config, "users", json_str_or(context, "user", ""), "user");

	if (!context)
		return err_set(err, EINVAL, "current-context \"%s\" does not name a context", context_name);
	if (!cluster)
		return err_set(err, EINVAL, "context \"%s\" does not name a cluster of the file", context_name);
	const char *server = json_str_or(cluster, "server", "");

	if (!str_starts(server, "https://") && !str_starts(server, "http://"))
		return err_set(err, EINVAL, "cluster server \"%s\" is not an http or https URL", server);
	k->server = mem_strdup(server);
	for (size_t n = strlen(k->server); n && k->server[n - 1] == '/'; n--)
		k->server[n - 1] = '\0';
	k->insecure_skip_tls_verify = json_bool(cluster, "insecure-skip-tls-verify", false);
	int r = file_or_data(k, path, cluster, "certificate-authority", "certificate-authority-data", &k->ca_file, err);

	if (r == 0)
		r = file_or_data(k, path, user, "client-certificate", "client-certificate-data", &k->cert_file, err);
	if (r == 0)
		r = file_or_data(k, path, user, "client-key", "client-key-data", &k->key_file, err);
	if (r < 0)
		return r;
	if (!k->cert_file != !k->key_file)
		return err_set(err, EINVAL, "user has a client certificate without a key, or a key without a certificate");
	if (json_object_get(user, "exec") || json_object_get(user, "auth-provider"))
		return err_set(err, ENOTSUP, "user wants a credential plugin, which is not supported");
	if (!str_empty(json_str(user, "tokenFile")))
		k->token_file = resolve(path, json_str(user, "tokenFile"));
	else
		k->token = mem_strdup(json_str(user, "token"));
	return 0;
}

int kubeconfig_load(const char *path, struct kubeconfig *ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	struct kubeconfig k = { 0 };
	int r = file_read(path, MAX_CONFIG_BYTES, &text);

	if (r < 0) {
		err_set(err, -r, "%s", strerror(-r));
		return err_wrap(err, "read kubeconfig %s", path);
	}
	_cleanup_json_ json_t *config = json_or_yaml_parse(text.data ? text.data : "", text.len, NULL, err);

	r = config ? fill(&k, path, config, err) : -EINVAL;
	if (r < 0) {
		kubeconfig_done(&k);
		return err_wrap(err, "kubeconfig %s", path);
	}
	*ret = k;
	return 0;
}

int kubeconfig_in_cluster(struct kubeconfig *ret, struct err *err)
{
	static const char dir[] = "/var/run/secrets/kubernetes.io/serviceaccount";
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");

	if (str_empty(host) || str_empty(port))
		return err_set(err, ENOENT, "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
	*ret = (struct kubeconfig){
		.server = str_printf(strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port),
		.ca_file = str_printf("%s/ca.crt", dir),
		.token_file = str_printf("%s/token", dir),
	};
	return 0;
}
