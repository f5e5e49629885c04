/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scores of 0 to 100 a plugin, their weights, and those plugins that look at one node. */
#include <math.h>

#include "base/mem.h"
#include "scheduler/decision.h"

enum {
	MAX_SCORE = 100,
	IMAGE_MIN_BYTES = 23 << 20,
	IMAGE_MAX_BYTES = 1000 << 20, /* a container */
};

void score_normalize(int64_t *scores, size_t count, bool reverse)
{
	int64_t max = 0;

	for (size_t i = 0; i < count; i++)
		max = MAX(max, scores[i]);
	for (size_t i = 0; i < count; i++) {
		int64_t s = max ? scores[i] * MAX_SCORE / max : 0;

		scores[i] = reverse ? MAX_SCORE - s : s;
	}
}

static int64_t free_share(int64_t capacity, int64_t used)
{
	return capacity <= 0 || used > capacity ? 0 : (int64_t)((__int128)(capacity - used) * MAX_SCORE / capacity);
}

void score_least_allocated(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores)
{
	for (size_t i = 0; i < count; i++) {
		const struct node_info *n = nodes[i];
		int64_t sum = 0, weights = 0;

		if (n->allocatable.milli_cpu > 0) {
			sum += free_share(n->allocatable.milli_cpu, n->scored.milli_cpu + d->info->scored.milli_cpu);
			weights++;
		}
		if (n->allocatable.memory > 0) {
			sum += free_share(n->allocatable.memory, n->scored.memory + d->info->scored.memory);
			weights++;
		}
		scores[i] = weights ? sum / weights : 0;
	}
}

static double share(int64_t used, int64_t capacity)
{
	return capacity <= 0 ? 1 : fmin((double)used / (double)capacity, 1);
}

void score_balanced(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores)
{
	const struct resources *want = &d->info->requests;

	for (size_t i = 0; i < count; i++) {
		const struct node_info *n = nodes[i];
		double cpu = share(n->requested.milli_cpu + want->milli_cpu, n->allocatable.milli_cpu);
		double memory = share(n->requested.memory + want->memory, n->allocatable.memory);

		/* The standard deviation of two values; a pod that requests nothing balances nothing. */
		scores[i] = want->milli_cpu || want->memory ? (int64_t)((1 - fabs(cpu - memory) / 2) * MAX_SCORE) : 0;
	}
}

static size_t nodes_with_image(const struct snapshot *s, const char *image)
{
	size_t n = 0;

	for (size_t i = 0; i < s->node_count; i++)
		n += s->nodes[i]->images && map_has(s->nodes[i]->images, image);
	return n;
}

/* As nodes report names: a tag is always there. Own. */
static char *normal_image(const char *image)
{
	const char *colon = strrchr(image, ':'), *slash = strrchr(image, '/');

	return colon && (!slash || colon > slash) ? mem_strdup(image) : str_printf("%s:latest", image);
}

void score_images(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores)
{
	static const char *const lists[] = { "spec.initContainers", "spec.containers" };
	size_t known = snapshot_known(d->s), k;
	json_t *c;

	memset(scores, 0, count * sizeof(*scores));
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
		json_array_foreach(json_at(d->pod, lists[l]), k, c) {
			_cleanup_free_ char *image = normal_image(json_str_or(c, "image", ""));
			size_t holders = nodes_with_image(d->s, image);

			for (size_t i = 0; i < count && holders && known; i++) {
				int64_t size = nodes[i]->images ? (int64_t)(intptr_t)map_get(nodes[i]->images, image) : 0;

				scores[i] += (int64_t)((double)size * (double)holders / (double)known);
			}
		}
	int64_t max = (int64_t)IMAGE_MAX_BYTES * MAX(d->info->container_count, 1u);

	for (size_t i = 0; i < count; i++) {
		int64_t sum = MIN(scores[i], max);

		sum = MAX(sum, (int64_t)IMAGE_MIN_BYTES);
		scores[i] = MAX_SCORE * (sum - IMAGE_MIN_BYTES) / (max - IMAGE_MIN_BYTES);
	}
}

void decision_score(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores)
{
	static const struct {
		score_fn run;
		int64_t weight;
	} plugins[] = {
		{ score_taints, 3 },   { score_node_affinity, 2 }, { score_least_allocated, 1 }, { score_balanced, 1 },
		{ score_images, 1 },   { score_spread, 2 },        { score_interpod, 2 },
	};
	_cleanup_free_ int64_t *one = mem_new_n(int64_t, count + 1);

	memset(scores, 0, count * sizeof(*scores));
	for (size_t p = 0; p < ARRAY_SIZE(plugins); p++) {
		plugins[p].run(d, nodes, count, one);
		for (size_t i = 0; i < count; i++)
			scores[i] += plugins[p].weight * one[i];
	}
}
