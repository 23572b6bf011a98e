/* plan.c - which splits a read is cut into. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "pgtext.h"
#include "strides.h"

/* ---- Blocks ---- */

static uint64_t
total_blocks(const psti_member *members, size_t n)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += members[i].nblocks;
	return total;
}

/* Blocks a group, so that about max_groups are enough. */
static uint32_t
group_size(uint64_t total, uint32_t per_group, size_t max_groups)
{
	uint64_t least = max_groups > 0 ? total / max_groups + (total % max_groups > 0) : 0;

	if (least > UINT32_MAX)
		least = UINT32_MAX;
	if (least < per_group)
		least = per_group;
	return least > 0 ? (uint32_t) least : 1;
}

static size_t
count_runs(const psti_member *members, size_t nmembers, uint32_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < nmembers; i++)
		n += members[i].whole ? 1 : (size_t) members[i].nblocks / size + 1;
	return n;
}

static size_t
add_runs(const psti_member *member, uint32_t size, stride_blocks *pieces, psti_blocks *out)
{
	size_t n = member->whole ? 1
							 : strides_blocks(member->nblocks, size,
											  (size_t) member->nblocks / size + 1, pieces);

	for (size_t k = 0; k < n; k++)
	{
		out[k].oid = member->oid;
		out[k].node = member->node;
		out[k].first = k == 0 ? 0 : pieces[k].first;
		out[k].end = k + 1 == n ? -1 : (int64_t) pieces[k + 1].first;
	}
	return n;
}

/* Blocks of run i, the open-ended one by what the member had. */
static uint64_t
run_blocks(const psti_blocks *run, const psti_member *member)
{
	uint64_t end = run->end < 0 ? member->nblocks : (uint64_t) run->end;

	return end > run->first ? end - run->first : 0;
}

static const psti_member *
member_of(const psti_member *members, size_t nmembers, uint32_t oid, size_t *hint)
{
	while (*hint + 1 < nmembers && members[*hint].oid != oid)
		(*hint)++;
	return &members[*hint];
}

/*
 * Puts neighbouring runs into one group: small leaves until they make up a group's size or, when
 * that still gives too many groups, by their share of the whole.
 */
static void
group_runs(psti_block_plan *plan, const psti_member *members, size_t nmembers, uint32_t size,
		   size_t max_groups, bool by_share)
{
	uint64_t total = total_blocks(members, nmembers) + plan->nruns;
	uint64_t before = 0;
	uint64_t in_group = 0;
	size_t share = 0;
	size_t hint = 0;

	plan->ngroups = 0;
	for (size_t i = 0; i < plan->nruns; i++)
	{
		const psti_member *member = member_of(members, nmembers, plan->runs[i].oid, &hint);
		/* One more, so that empty leaves have a weight too. */
		uint64_t blocks = run_blocks(&plan->runs[i], member) + 1;
		size_t now = by_share ? (size_t) (((unsigned __int128) before * max_groups) / total) : 0;
		bool begins = by_share ? now != share : in_group + blocks > (uint64_t) size + 1;

		if (i == 0 || begins)
		{
			plan->starts[plan->ngroups++] = i;
			in_group = 0;
		}
		share = now;
		in_group += blocks;
		before += blocks;
	}
	plan->starts[plan->ngroups] = plan->nruns;
}

pst_status
psti_plan_blocks(const psti_member *members, size_t nmembers, uint32_t per_group, size_t max_groups,
				 psti_block_plan *out, pst_error *err)
{
	uint32_t size = group_size(total_blocks(members, nmembers), per_group, max_groups);
	size_t most = count_runs(members, nmembers, size);
	stride_blocks *pieces;

	memset(out, 0, sizeof(*out));
	pieces = calloc(most, sizeof(*pieces));
	out->runs = calloc(most, sizeof(*out->runs));
	out->starts = calloc(most + 1, sizeof(*out->starts));
	if (pieces == NULL || out->runs == NULL || out->starts == NULL)
	{
		free(pieces);
		psti_block_plan_free(out);
		return psti_fail_nomem(err);
	}
	for (size_t i = 0; i < nmembers; i++)
		out->nruns += add_runs(&members[i], size, pieces, out->runs + out->nruns);
	group_runs(out, members, nmembers, size, max_groups, false);
	if (max_groups > 0 && out->ngroups > max_groups)
		group_runs(out, members, nmembers, size, max_groups, true);
	free(pieces);
	return PST_OK;
}

void
psti_block_plan_free(psti_block_plan *plan)
{
	free(plan->runs);
	free(plan->starts);
	memset(plan, 0, sizeof(*plan));
}

/* ---- Cut points ---- */

void
psti_cuts_free(char **cuts, size_t ncuts)
{
	for (size_t i = 0; cuts != NULL && i < ncuts; i++)
		free(cuts[i]);
	free(cuts);
}

/* Room for n texts, none yet. */
static char **
new_cuts(size_t n)
{
	return calloc(n + 1, sizeof(char *));
}

/* Prints the lower bound of a stride; the text's length. */
typedef size_t (*print_lower)(const void *strides, size_t i, psti_print_point print, char *text);

/* The texts of where all strides but the first begin. count 0: there are none. */
static pst_status
print_cuts(const void *strides, size_t count, print_lower lower, psti_print_point print,
		   char ***cuts, size_t *ncuts, pst_error *err)
{
	char **texts = new_cuts(count);

	if (texts == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 1; i < count; i++)
	{
		char text[PSTI_TEXT_MAX + 1];

		text[lower(strides, i, print, text)] = '\0';
		texts[i - 1] = strdup(text);
		if (texts[i - 1] == NULL)
		{
			psti_cuts_free(texts, count);
			return psti_fail_nomem(err);
		}
	}
	*cuts = texts;
	*ncuts = count > 0 ? count - 1 : 0;
	return PST_OK;
}

static size_t
lower_int64(const void *strides, size_t i, psti_print_point print, char *text)
{
	return print(((const stride_int64 *) strides)[i].lower, text);
}

static size_t
lower_uuid(const void *strides, size_t i, psti_print_point print, char *text)
{
	stride_u128 lower = ((const stride_uuid *) strides)[i].lower;
	uint8_t bytes[16];

	(void) print;
	psti_put64(bytes, lower.high);
	psti_put64(bytes + 8, lower.low);
	return psti_text_uuid(bytes, text);
}

pst_status
psti_cuts_int64(int64_t lower, int64_t upper, size_t n, psti_print_point print, char ***cuts,
				size_t *ncuts, pst_error *err)
{
	stride_int64 *strides = calloc(n, sizeof(*strides));
	pst_status status;

	*cuts = NULL;
	*ncuts = 0;
	if (strides == NULL)
		return psti_fail_nomem(err);
	status = print_cuts(strides, strides_int64(lower, upper, n, strides), lower_int64, print, cuts,
						ncuts, err);
	free(strides);
	return status;
}

pst_status
psti_cuts_uuid(const uint8_t lower[16], const uint8_t upper[16], size_t n, char ***cuts,
			   size_t *ncuts, pst_error *err)
{
	stride_u128 from = {psti_get64(lower), psti_get64(lower + 8)};
	stride_u128 to = {psti_get64(upper), psti_get64(upper + 8)};
	stride_uuid *strides = calloc(n, sizeof(*strides));
	pst_status status;

	*cuts = NULL;
	*ncuts = 0;
	if (strides == NULL)
		return psti_fail_nomem(err);
	status =
		print_cuts(strides, strides_uuid(from, to, n, strides), lower_uuid, NULL, cuts, ncuts, err);
	free(strides);
	return status;
}

/* ---- Texts ---- */

/* Length of the common begin of both, not inside a UTF-8 sequence. */
static size_t
common_begin(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] != '\0' && a[n] == b[n])
		n++;
	while (n > 0 && ((uint8_t) a[n] & 0xc0) == 0x80)
		n--;
	return n;
}

pst_status
psti_cuts_text(const char *lower, const char *upper, size_t n, char ***cuts, size_t *ncuts,
			   pst_error *err)
{
	size_t same = common_begin(lower, upper);
	char **texts = new_cuts(n);
	size_t count = 0;

	*cuts = NULL;
	*ncuts = 0;
	if (texts == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 1; i < n; i++)
	{
		char *text = malloc(same + STRIDE_TEXT_DIGITS + 1);

		if (text == NULL)
		{
			psti_cuts_free(texts, count);
			return psti_fail_nomem(err);
		}
		text[stride_text(lower, upper, same, i, n, text)] = '\0';
		texts[count++] = text;
	}
	*cuts = texts;
	*ncuts = count;
	return PST_OK;
}

/* ---- Strides ---- */

void
psti_strides_free(psti_stride *strides, size_t nstrides)
{
	for (size_t i = 0; strides != NULL && i < nstrides; i++)
		psti_stride_free(&strides[i]);
	free(strides);
}

/* A copy of a bound into *to; NULL stays NULL. */
static bool
copy_bound(char **to, const char *from)
{
	*to = from == NULL ? NULL : strdup(from);
	return from == NULL || *to != NULL;
}

pst_status
psti_strides_new(const char *lower, const char *upper, char *const *cuts, size_t ncuts, bool filter,
				 psti_stride **out, pst_error *err)
{
	psti_stride *strides = calloc(ncuts + 1, sizeof(*strides));

	*out = NULL;
	if (strides == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i <= ncuts; i++)
	{
		const char *from = i > 0 ? cuts[i - 1] : filter ? lower : NULL;
		const char *to = i < ncuts ? cuts[i] : filter ? upper : NULL;

		strides[i].inclusive = filter && i == ncuts;
		strides[i].nulls = !filter && i == 0;
		if (!copy_bound(&strides[i].lower, from) || !copy_bound(&strides[i].upper, to))
		{
			psti_strides_free(strides, ncuts + 1);
			return psti_fail_nomem(err);
		}
	}
	*out = strides;
	return PST_OK;
}

static void
compare(psti_buf *out, const char *column, const char *operator, const char * bound,
		const char *cast)
{
	psti_buf_printf(out, "%s OPERATOR(pg_catalog.%s) ", column, operator);
	psti_buf_literal(out, bound);
	psti_buf_printf(out, "::%s", cast);
}

void
psti_stride_sql(const psti_stride *stride, const char *column, const char *cast, psti_buf *out)
{
	if (stride->lower == NULL && stride->upper == NULL)
	{
		if (stride->nulls)
			psti_buf_puts(out, "true");
		else
			psti_buf_printf(out, "%s IS NOT NULL", column);
		return;
	}
	psti_buf_putc(out, '(');
	if (stride->lower != NULL)
		compare(out, column, ">=", stride->lower, cast);
	if (stride->lower != NULL && stride->upper != NULL)
		psti_buf_puts(out, " AND ");
	if (stride->upper != NULL)
		compare(out, column, stride->inclusive ? "<=" : "<", stride->upper, cast);
	if (stride->nulls)
		psti_buf_printf(out, " OR %s IS NULL", column);
	psti_buf_putc(out, ')');
}
