/*
 * plan.h - which splits a read is cut into. Pure: knows no server.
 *
 * Whatever comes out covers its domain exactly once: pieces are built from cut points only, and
 * each piece ends where the next begins.
 */
#ifndef PSTI_PLAN_H
#define PSTI_PLAN_H

#include "split.h"

/* A table without children, or a leaf of one with. */
typedef struct psti_member
{
	uint32_t oid;
	uint32_t node;
	uint32_t nblocks;
	bool whole; /* not to be cut: a foreign table, another access method */
} psti_member;

/* Block ranges in groups: group g is runs[starts[g]] to runs[starts[g + 1] - 1]. */
typedef struct psti_block_plan
{
	psti_blocks *runs; /* owned */
	size_t nruns;
	size_t *starts; /* ngroups + 1, owned */
	size_t ngroups;
} psti_block_plan;

/*
 * Cuts members (at least one) into groups of about per_group blocks, at most max_groups (0: any
 * number). Every member's last range is open-ended.
 */
pst_status psti_plan_blocks(const psti_member *members, size_t nmembers, uint32_t per_group,
							size_t max_groups, psti_block_plan *out, pst_error *err);
void psti_block_plan_free(psti_block_plan *plan);

/*
 * Texts of the points that cut [lower, upper] into n strides: n - 1 of them or, in a small domain,
 * fewer. print writes the text of a point (at most PSTI_TEXT_MAX bytes) and returns its length.
 */
typedef size_t (*psti_print_point)(int64_t point, char *out);

pst_status psti_cuts_int64(int64_t lower, int64_t upper, size_t n, psti_print_point print,
						   char ***cuts, size_t *ncuts, pst_error *err);
pst_status psti_cuts_uuid(const uint8_t lower[16], const uint8_t upper[16], size_t n, char ***cuts,
						  size_t *ncuts, pst_error *err);

/*
 * Candidates for cut points between two texts, evenly spread over printable ASCII behind what the
 * two have in common. Their order is the column's collation's business: the server sorts them.
 */
pst_status psti_cuts_text(const char *lower, const char *upper, size_t n, char ***cuts,
						  size_t *ncuts, pst_error *err);
void psti_cuts_free(char **cuts, size_t ncuts);

/*
 * The ncuts + 1 strides between cut points in ascending order. Without filter the first one takes
 * in everything below and NULL, the last one everything above; with it they end at the bounds.
 */
pst_status psti_strides_new(const char *lower, const char *upper, char *const *cuts, size_t ncuts,
							bool filter, psti_stride **out, pst_error *err);
void psti_strides_free(psti_stride *strides, size_t nstrides);

/* Appends the SQL condition of a stride; column is a quoted reference, cast a type's quoted name. */
void psti_stride_sql(const psti_stride *stride, const char *column, const char *cast,
					 psti_buf *out);

#endif /* PSTI_PLAN_H */
